// A chart as a file.
export type Format = "svg" | "png";

/** Hand a drawn chart to the reader, on the ground that it is seen on. */
export async function save(drawing: SVGSVGElement, ground: string, name: string, format: Format): Promise<void> {
  const { width, height } = drawing.getBoundingClientRect();
  const copy = drawing.cloneNode(true) as SVGSVGElement;
  const back = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [key, value] of Object.entries({ width: "100%", height: "100%", fill: ground })) back.setAttribute(key, value);
  copy.prepend(back);
  const picture = new XMLSerializer().serializeToString(copy);
  const content = format === "svg" ? new Blob([picture], { type: "image/svg+xml" }) : await raster(picture, width, height);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = `${name.replace(/[^\p{L}\p{N}._-]+/gu, "-").slice(0, 80) || "chart"}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
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
