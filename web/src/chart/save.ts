// A chart as a file, which says by itself what it is of.
export type Format = "svg" | "png";

export interface Heading {
  title: string;
  /** From when to when. */
  about: string;
  /** Its series, where there are several. */
  keys: readonly { name: string; colour: string }[];
}

const [EDGE, LINE] = [12, 18]; // pixels
const SVG = "http://www.w3.org/2000/svg";

/** Hand a drawn chart to the reader, beneath its heading, on the ground that it is seen on. */
export async function save(chart: SVGSVGElement, heading: Heading, ground: string, ink: string, format: Format): Promise<void> {
  const lines = [heading.title, heading.about, ...(heading.keys.length ? [""] : [])];
  const above = EDGE + lines.length * LINE;
  const [width, height] = [Number(chart.getAttribute("width")), above + Number(chart.getAttribute("height"))];
  const font = { fill: ink, "font-family": getComputedStyle(document.body).fontFamily, "font-size": "12" };
  const whole = element("svg", { width, height, viewBox: `0 0 ${width} ${height}` });
  whole.append(element("rect", { width, height, fill: ground }));
  lines.forEach((text, i) => whole.append(element("text", { ...font, x: EDGE, y: (i + 1) * LINE, "font-weight": i ? "400" : "600" }, text)));
  const keys = element("text", { ...font, x: EDGE, y: lines.length * LINE });
  for (const { name, colour } of heading.keys) keys.append(element("tspan", { fill: colour }, "\u25a0 "), element("tspan", {}, `${name}   `));
  chart.setAttribute("y", String(above));
  whole.append(keys, chart);
  const picture = new XMLSerializer().serializeToString(whole);
  const content = format === "svg" ? new Blob([picture], { type: "image/svg+xml" }) : await raster(picture, width, height);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = `${heading.title.replace(/[^\p{L}\p{N}._-]+/gu, "-").slice(0, 80) || "chart"}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function element(tag: string, attributes: Record<string, string | number>, text = ""): SVGElement {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.textContent = text;
  return made;
}

async function raster(picture: string, width: number, height: number): Promise<Blob> {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(picture)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = width * 2;
  canvas.height = height * 2;
  canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done, failed) => canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("no picture"))), "image/png"));
}
