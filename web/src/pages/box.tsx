import { Box } from "../parts/box";
import { Chips } from "../parts/filters";
import { A, Name } from "../parts/link";
import { Head } from "../parts/ready";
import { usePlace } from "../route";

/** The ranked list on a page of its own, for links. */
export function BoxPage() {
  const { query } = usePlace();
  const target = query.get("target") ?? "";
  const stretch = query.get("box") ?? `${query.get("start") ?? ""}/${query.get("end") ?? ""}`;
  return (
    <>
      <Head kind="What differs" title={<Name text={target || "no target"} />}><Chips /></Head>
      {target && stretch !== "/" ? (
        <Box target={target} stretch={stretch} />
      ) : (
        <p class="empty">Drag over a stretch of a chart of a <A href="/tasks">task</A> or a column, and what differs there is listed here.</p>
      )}
    </>
  );
}
