// Runs before the first paint (a classic script), so that a remembered theme does not flash.
try {
  const theme = localStorage.getItem("docent.theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden; the system's preference applies.
}
