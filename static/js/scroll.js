// Keeps the newest line in view, but only for a reader who is already there.

const NEAR_PX = 56;

export class AutoScroll {
  constructor(box, jump) {
    this.box = box;
    this.jump = jump;
    this.pinned = true;
    this.top = 0;
    box.addEventListener("scroll", () => this.#moved(), { passive: true });
    jump.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => this.follow()).observe(box);
  }

  /** After something was drawn. */
  follow() {
    if (this.pinned) this.box.scrollTop = this.box.scrollHeight;
    this.#show();
  }

  toEnd() {
    this.pinned = true;
    this.follow();
  }

  /** Only moving up lets go: growing text also changes the distance to the end. */
  #moved() {
    const { scrollTop } = this.box;
    if (this.#distance() < NEAR_PX) this.pinned = true;
    else if (scrollTop < this.top) this.pinned = false;
    this.top = scrollTop;
    this.#show();
  }

  #distance() {
    return this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight;
  }

  #show() {
    this.jump.hidden = this.pinned || this.#distance() < NEAR_PX;
  }
}
