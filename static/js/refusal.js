// What is shown in place of an answer when a question was not taken.

import { h, icon, iconButton } from "./dom.js";
import { seconds } from "./format.js";
import { refusalSentence } from "./quota.js";

export const reason = (problem) => (problem.code === "quota_exceeded" && problem.quota ? refusalSentence(problem.quota) : problem.message);

/** True when the same question may only be asked on another day, or differently: it goes back to where it was written. */
export const isForLater = (problem) => problem.code === "quota_exceeded" || problem.code === "model_unpriced";

/** A notice with the reason and a button to try again, which waits as long as the server wants. */
export function refusal(problem, onRetry) {
  const countdown = h("span", { class: "countdown" });
  const retry = iconButton("retry", "Retry", { text: true, "data-testid": "retry", onclick: onRetry });
  if (problem.retryAfterMs) countDown(problem.retryAfterMs, retry, countdown);
  return h("div", { class: "notice failed refusal", role: "alert", "data-testid": "send-error", "data-code": problem.code },
    icon("alert"), h("span", { dir: "auto" }, reason(problem)), countdown, retry);
}

/** Keeps `button` off until the wait is over, and says how long that is. */
function countDown(ms, button, label) {
  const end = Date.now() + ms;
  button.disabled = true;
  const tick = () => {
    const left = end - Date.now();
    label.textContent = left > 0 ? `Try again in ${seconds(left)}.` : "";
    if (left > 0) setTimeout(tick, Math.min(left, 1000));
    else button.disabled = false;
  };
  tick();
}
