// Links between pages. A click stays in the page; with a modifier it is the browser's.
import type { ComponentChildren } from "preact";
import { go, joined, usePlace, withStaying, type Place } from "../route";

interface Props {
  href: string;
  children: ComponentChildren;
  class?: string;
  title?: string | undefined;
  current?: boolean;
  /** The address is whole: nothing of this one's is added. */
  exact?: boolean;
}

export function A({ href, children, exact, current, ...rest }: Props) {
  const { query } = usePlace();
  const to = exact ? href : withStaying(href, query);
  return (
    <a
      {...rest}
      href={to}
      aria-current={current ? "page" : undefined}
      onClick={(event) => {
        if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
        event.preventDefault();
        go(to);
      }}
    >
      {children}
    </a>
  );
}

/** A filter's address: the page that it names with its filters, and, where that is this page, all else as it is. */
export function filtered(href: string, at: Place): string {
  const to = new URL(href, location.origin);
  if (to.pathname !== at.path) return withStaying(href, at.query);
  const query = new URLSearchParams(at.query);
  for (const name of ["only", "without"]) {
    query.delete(name);
    for (const value of to.searchParams.getAll(name)) query.append(name, value);
  }
  return joined(at.path, query);
}

/** A link to somewhere else, such as a runbook; only http and https lead anywhere. */
export function Outside({ href }: { href: string }) {
  if (!/^https?:\/\//i.test(href)) return <Name text={href} />;
  return <a href={href} rel="noreferrer noopener" target="_blank"><Name text={href} /></a>;
}

/** A name that users chose: of any length, script and direction. */
export function Name({ text, class: name = "" }: { text: string; class?: string }) {
  return <bdi class={`name ${name}`} title={text.length > 24 ? text.slice(0, 500) : undefined}>{text.length > 300 ? `${text.slice(0, 300)}…` : text}</bdi>;
}
