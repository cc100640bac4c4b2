// What of a page cannot be read or named: texts with too little contrast (WCAG AA: 4.5), and controls without a name.
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const colour = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (found) =>
    found
      .slice(0, 3)
      .map((part) => part / 255)
      .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
      .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = colour(getComputedStyle(at).backgroundColor);
      if (found[3] > 230) return found;
    }
    return [255, 255, 255];
  };
  const poor = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility() || element.closest("script, noscript, :disabled")) continue;
    const style = getComputedStyle(element);
    const of = element instanceof SVGElement ? style.fill : style.color;
    const [more, less] = [light(colour(of)), light(ground(element))].sort((a, b) => b - a);
    const ratio = (more + 0.05) / (less + 0.05);
    if (ratio < 4.5) poor.add(`${ratio.toFixed(2)} ${element.tagName} ${element.getAttribute("class")}: ${text.slice(0, 40)}`);
  }
  for (const control of document.querySelectorAll("a, button, input, select, textarea, summary, [role=img], table")) {
    const name = control.textContent.trim() || control.getAttribute("aria-label") || control.labels?.length || control.title;
    if (control.checkVisibility() && !name) poor.add(`no name: ${control.outerHTML.slice(0, 120)}`);
  }
  return [...poor].slice(0, 10);
};
