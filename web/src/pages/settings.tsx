import { useState } from "preact/hooks";
import { Failure, send, usePageApi } from "../api";
import { length, words } from "../format";
import { Name } from "../parts/link";
import { Head, Ready, Section } from "../parts/ready";
import { Table } from "../parts/table";
import { Time } from "../parts/time";
import type { SettingsPage } from "../types";

export function Settings() {
  const asked = usePageApi<SettingsPage>("/settings");
  return (
    <>
      <Head title="Settings" />
      <Ready asked={asked}>
        {({ data }) => (
          <>
            <dl class="facts card">
              <dt>Project</dt><dd><Name text={data.project} /></dd>
              <dt>Store</dt><dd><Name text={data.store} /></dd>
              <dt>State</dt><dd><Name text={data.state} /></dd>
              <dt>Engine</dt><dd>{data.engine}</dd>
              <dt>Version</dt><dd>{data.version}</dd>
              <dt>Waiting</dt><dd>{data.waiting} messages are not counted yet</dd>
            </dl>
            <Tokens data={data} again={asked.again} />
            <div class="columns">
              <Section title="Channels" note="who is told of incidents; in fourfold.toml">
                <Table label="channels" rows={data.channels} id={(row) => row.name} empty="No channel is set up: [watch.notify.NAME] in fourfold.toml adds one." columns={[
                  { head: "Name", cell: (row) => <Name text={row.name} /> },
                  { head: "Kind", class: "fit", cell: (row) => row.kind },
                  { head: "From", class: "fit", cell: (row) => row.severity },
                  { head: "", class: "fit actions", cell: (row) => <Try channel={row.name} /> },
                ]} />
              </Section>
              <Section title="Retention" note="records older are erased; their counts stay">
                <Table label="retention" rows={data.retention} id={(row) => row.stream} empty="All records are kept: retention = in fourfold.toml limits it." columns={[
                  { head: "Stream", cell: (row) => <Name text={row.stream} /> },
                  { head: "Kept for", number: true, class: "fit", cell: (row) => (row.seconds === null ? "ever" : length(row.seconds)) },
                ]} />
              </Section>
              <Section title="Watch">
                <Table label="watch" rows={Object.entries(data.watch)} id={([name]) => name} columns={[
                  { head: "Setting", cell: ([name]) => words(name) },
                  { head: "Value", number: true, cell: ([, value]) => <Name text={setting(value)} /> },
                ]} />
              </Section>
              <Section title="Objectives">
                <Table label="objectives" rows={data.objectives} id={(row) => row.name} empty="No objective is declared." columns={[
                  { head: "Name", cell: (row) => <Name text={row.name} /> },
                  { head: "Expression", cell: (row) => <Name text={row.expression} /> },
                  { head: "Window", class: "fit", cell: (row) => row.window },
                ]} />
              </Section>
            </div>
            <Section id="problems" title="Problems of the data themselves">
              <Table label="problems" rows={data.problems} id={(row, i) => `${row.kind}:${i}`} empty="None." columns={[
                { head: "Kind", class: "fit quiet", cell: (row) => words(row.kind) },
                { head: "Where", cell: (row) => <Name text={row.subject} /> },
                { head: "What", class: "wide", cell: (row) => <Name text={row.message} /> },
                { head: "What to do", class: "wide", cell: (row) => <Name text={row.advice ?? ""} /> },
              ]} />
            </Section>
          </>
        )}
      </Ready>
    </>
  );
}

function useTried(): [string, (work: () => Promise<unknown>, done?: string) => Promise<boolean>] {
  const [said, setSaid] = useState("");
  const run = async (work: () => Promise<unknown>, done = ""): Promise<boolean> => {
    setSaid("");
    try {
      await work();
      setSaid(done);
      return true;
    } catch (error) {
      setSaid(error instanceof Failure ? error.message : String(error));
      return false;
    }
  };
  return [said, run];
}

function Try({ channel }: { channel: string }) {
  const [said, run] = useTried();
  return <><button type="button" onClick={() => void run(() => send("POST", `/api/channels/${encodeURIComponent(channel)}/test`), "sent")}>Test</button>{said && <span class="said" role="status">{said}</span>}</>;
}

function Tokens({ data, again }: { data: SettingsPage; again: () => void }) {
  const [made, setMade] = useState("");
  const [said, run] = useTried();
  if (data.tokens === null) return null;
  return (
    <Section title="Tokens" note={data.tokens.length ? undefined : "without any, everyone on this machine may look and send; the first must be an admin's, and you sign in with it"}>
      <Table label="tokens" rows={data.tokens} id={(row) => row.id} empty="No token was made." tone={(row) => (row.revoked ? "row-ended" : "")} columns={[
        { head: "Id", class: "fit", cell: (row) => <code>{row.id}</code> },
        { head: "Name", cell: (row) => <Name text={row.name} /> },
        { head: "Role", class: "fit", cell: (row) => row.role },
        { head: "Projects", cell: (row) => <Name text={row.projects.join(", ") || "all"} /> },
        { head: "Made", class: "fit", cell: (row) => <Time at={row.created} /> },
        { head: "Revoked", class: "fit", cell: (row) => (row.revoked ? <Time at={row.revoked} /> : <button type="button" onClick={() => void run(() => send("DELETE", `/api/tokens/${encodeURIComponent(row.id)}`)).then(again)}>Revoke</button>) },
      ]} />
      <form
        class="ask"
        onSubmit={(event) => {
          event.preventDefault();
          const form = event.currentTarget;
          const fields = new FormData(form);
          const projects = String(fields.get("projects") ?? "").split(",").map((one) => one.trim()).filter(Boolean);
          void run(async () => {
            const answer = await send<{ data: { secret: string } }>("POST", "/api/tokens", { name: fields.get("name"), role: fields.get("role"), projects });
            setMade(answer?.data.secret ?? "");
          }).then((done) => {
            if (done) form.reset();
            again();
          });
        }}
      >
        <label>Name <input name="name" required maxLength={200} autocomplete="off" /></label>
        <label>Role <select name="role"><option>viewer</option><option>ingest</option><option>admin</option></select></label>
        <label>Projects <input name="projects" placeholder="all" autocomplete="off" /></label>
        <button type="submit">Make a token</button>
        {said && <span class="mistake" role="alert">{said}</span>}
      </form>
      {made && <p class="secret" role="status">It is shown this once: <code>{made}</code></p>}
    </Section>
  );
}

/** A setting as text: a list's entries, a table's lines; none where it has none. */
function setting(value: unknown): string {
  if (value === null || typeof value !== "object") return String(value ?? "–");
  const entries = Array.isArray(value) ? value.map(String) : Object.entries(value).map(([name, one]) => `${name}: ${one}`);
  return entries.join(", ") || "none";
}
