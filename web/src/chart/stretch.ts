// Dragging over a stretch of a chart's time axis.
interface Drawn {
  containPixel(finder: unknown, at: number[]): boolean;
  convertFromPixel(finder: unknown, at: number): number | number[];
  getZr(): { on(event: string, handler: (event: Pointed) => void): void };
}

interface Pointed {
  offsetX: number;
  offsetY: number;
  event?: { preventDefault?: () => void };
}

const LEAST = 4; // pixels

/** Call back with the ends of a stretch that was dragged over, in milliseconds. */
export function onStretch(chart: Drawn, box: HTMLElement, chosen: (from: number, to: number) => void): () => void {
  let from: number | null = null;
  const mark = document.createElement("div");
  mark.className = "stretch";
  const show = (to: number): void => {
    if (from === null) return;
    mark.style.left = `${Math.min(from, to)}px`;
    mark.style.width = `${Math.abs(to - from)}px`;
    if (!mark.isConnected) box.append(mark);
  };
  const end = (event: MouseEvent): void => {
    if (from === null) return;
    const to = event.clientX - box.getBoundingClientRect().left;
    const ends = [from, to].map((x) => Number(chart.convertFromPixel({ xAxisIndex: 0 }, x))).sort((a, b) => a - b);
    const moved = Math.abs(to - from) > LEAST;
    from = null;
    mark.remove();
    if (moved && ends.every(Number.isFinite)) chosen(ends[0]!, ends[1]!);
  };
  const move = (event: MouseEvent): void => show(event.clientX - box.getBoundingClientRect().left);
  chart.getZr().on("mousedown", (event) => {
    if (!chart.containPixel({ gridIndex: 0 }, [event.offsetX, event.offsetY])) return;
    event.event?.preventDefault?.();
    from = event.offsetX;
  });
  addEventListener("mousemove", move);
  addEventListener("mouseup", end);
  return () => {
    removeEventListener("mousemove", move);
    removeEventListener("mouseup", end);
    mark.remove();
  };
}
