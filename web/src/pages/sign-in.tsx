import { useState } from "preact/hooks";
import { Failure, send } from "../api";
import { place } from "../route";

export function SignIn() {
  const [said, setSaid] = useState("");
  const [busy, setBusy] = useState(false);
  const enter = async (token: string): Promise<void> => {
    setSaid("");
    setBusy(true);
    try {
      await send("POST", "/session", { token });
      location.assign(next());
    } catch (error) {
      setSaid(error instanceof Failure ? error.message : String(error));
      setBusy(false);
    }
  };
  return (
    <form
      class="sign-in"
      onSubmit={(event) => {
        event.preventDefault();
        void enter(String(new FormData(event.currentTarget).get("token") ?? ""));
      }}
    >
      <h1>fourfold</h1>
      <label>Token <input name="token" type="password" required autofocus autocomplete="current-password" spellcheck={false} /></label>
      <button type="submit" class="main" disabled={busy}>Sign in</button>
      {said && <p class="mistake" role="alert">{said}</p>}
      <p class="quiet">An administrator makes one with <code>fourfold tokens --add NAME --role viewer</code>.</p>
    </form>
  );
}

/** Where to go on: a page of these, never elsewhere. */
function next(): string {
  const wanted = place().query.get("next") ?? "/";
  const to = new URL(wanted, location.origin);
  return to.origin === location.origin && to.pathname !== "/sign-in" ? to.pathname + to.search : "/";
}
