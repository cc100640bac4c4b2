// What the server's JSON holds. Times are ISO 8601 in UTC; lengths are seconds.
export interface Answer<T> {
  data: T;
  charts?: Record<string, ChartSpec>;
}

export interface ChartSpec {
  kind: string;
  title: string;
  unit: string;
  summary: string;
  option: Record<string, unknown>;
}

export type Slice = Record<string, string | number | boolean | null>;

export interface Value {
  value: number | null;
  low: number | null;
  high: number | null;
  n: number | null;
  coverage: number | null;
  status: "settled" | "provisional" | "estimated" | "no_data";
  reason: string;
}

export interface Where {
  component: string;
  stream: string;
  column: string;
  task: string;
  slice: Slice;
  objective: string;
  label: string;
  href: string;
}

export interface Window {
  start: string;
  end: string;
  every: string;
  data_start: string | null;
  data_end: string | null;
  relative: boolean;
}

export interface IncidentRow {
  id: string;
  state: string;
  severity: string;
  title: string;
  kind: string;
  group: string;
  began: string;
  began_low: string;
  began_high: string;
  opened: string;
  resolved: string | null;
  where: Where;
  objectives: string[];
  owner: string;
  runbook: string;
  reason: string;
  until: string | null;
  reopened: number;
  confirmed: boolean;
  findings: number;
  href: string;
}

export interface Finding {
  series: string;
  kind: string;
  what: string;
  group: string;
  severity: string;
  where: Where;
  value: number | null;
  expected: number | null;
  low: number | null;
  high: number | null;
  n: number;
  began: string;
  began_low: string;
  began_high: string;
  seen: string;
  weight: number;
  advice: string;
  owner: string;
  runbook: string;
  chart: string | null;
  depth?: number;
  undrawn?: string | null; // why it has no chart
}

export interface Objective {
  name: string;
  expression: string;
  window: string;
  slice: Slice;
  status: string;
  value: Value;
  unit_of_value: string;
  bound: number | null;
  op: string;
  start: string;
  end: string;
  elapsed: number;
  good: number;
  total: number;
  unit: string;
  goal: number;
  budget: { total: number; consumed: number; remaining: number | null } | null;
  burns: { severity: string; factor: number; long: number | null; short: number | null; long_window: number; short_window: number; fires: boolean }[];
  estimate: Value | null;
  best_constant: number | null;
  previous: { status: string; value: Value; start: string; end: string } | null;
  reason: string;
  owner: string;
  runbook: string;
  description: string;
  target: string;
  href: string;
  chart: string | null;
  incidents: string[];
}

export interface Group {
  group: string;
  title: string;
  state: string;
  span: string;
  health: string;
  incidents: string[];
  findings: number;
  worst: Finding[];
  watched: Record<string, number>;
}

export interface MetricValue {
  metric: string;
  title: string;
  value: Value;
  headline?: boolean;
}

export interface TaskRow {
  name: string;
  kind: string;
  prediction: string;
  label: string;
  href: string;
  metrics: MetricValue[];
  chart: string | null;
}

export interface TaskList {
  tasks: TaskRow[];
  total: number;
}

export interface Home {
  project: string;
  projects: string[];
  now: string;
  data_end: string | null;
  state: string;
  headline: string;
  behind: boolean;
  objectives: Objective[];
  groups: Group[];
  incidents: IncidentRow[];
  incidents_total: number;
  tasks: TaskRow[];
  objectives_total: number;
  tasks_total: number;
  components_total: number;
  components: { name: string; status: string; last_run: string | null; duration: number | null; runs: number; failed_of_last_10: number; href: string }[];
  problems: number;
}

export interface PipelineNode {
  id: string;
  type: string;
  name: string;
  href: string;
  state: string | null;
  last_run: string | null;
  age: number | null;
  duration: number | null;
  usual: { low: number | null; middle: number | null; high: number | null } | null;
  runs: number | null;
  failed_of_last_10: number | null;
  code: string | null;
  x: number;
  y: number;
  findings: number;
  incidents: string[];
  marks: {
    changed: { what: string; at: string | null; run: string }[];
    worse: { objective: string; what: string }[];
    touched: string[];
  };
}

export interface Pipeline {
  /** How many parts there are, of which some are shown. */
  total: number;
  nodes: PipelineNode[];
  edges: { from: string; to: string; artifacts: string[] }[];
}

export interface SliceRow {
  slice: Slice;
  name: string;
  value: Value;
  n: number;
  share: number | null;
  loss_share: number | null;
  without: Value | null;
  difference: number | null;
  href_only: string;
  href_without: string | null;
}

export interface TaskPage {
  task: {
    name: string;
    kind: string;
    prediction: string;
    label: string;
    threshold: number | null;
    horizon: number | null;
    version: string | null;
    dimensions: string[][];
  };
  window: Window;
  metric: string;
  metrics: MetricValue[];
  /** Whether there are parts whose labels can still come, which can be estimated. */
  unsettled: boolean;
  /** The names of all metrics of such a task. */
  available: string[];
  value: Value;
  without_value: Value | null;
  history: { start: string; end: string; value: Value; expected: { value: number | null; low: number | null; high: number | null } | null }[];
  volume: { start: string; end: string; predicted: number; labelled: number; coverage: number | null; delay: number | null }[];
  slices: { by: string[]; total: number; rows: SliceRow[] } | null;
  versions: { version: string; value: Value; n: number; first: string | null; last: string | null }[];
  incidents: IncidentRow[];
}

export interface ColumnRow {
  name: string;
  kind: string;
  missing: number | null;
  mean: number | null;
  median: number | null;
  min: number | null;
  max: number | null;
  distinct: number | null;
  frequent: [string, number][];
  href: string;
}

export interface StreamPage {
  stream: {
    name: string;
    key: string | null;
    logged: boolean;
    rows: number | null;
    first_day: string | null;
    last_day: string | null;
    component: string | null;
    retention: number | null;
  };
  window: Window;
  columns_total: number;
  columns: ColumnRow[];
  incidents: IncidentRow[];
}

export interface ColumnPage {
  stream: string;
  column: string;
  kind: string;
  window: Window;
  against: { text: string; start: string | null; end: string | null } | null;
  now: { start: string; end: string };
  values: { metric: string; title: string; unit: string; now: Value; then: Value | null }[];
  distance: Record<string, Value & { title: string }>;
  effect: { value: number | null; low: number | null; high: number | null } | null;
  new_categories: { value: string | null; first: string | null; n: number; share: number | null }[];
  gone_categories: { value: string | null; last: string | null; n: number }[];
  frequent: { value: string | null; now: number | null; then: number | null }[];
  always: { broken_since: string | null; words: string } | null;
  incidents: IncidentRow[];
}

export interface BoxRow {
  kind: string;
  stream: string;
  column: string;
  name: string;
  value: string | null;
  presence: "" | "gone" | "new"; // whether records have the column at all
  effect: number | null;
  low: number | null;
  high: number | null;
  /** The effect in a word. */
  size: string;
  inside: { n: number; words: string };
  baseline: { n: number; words: string };
  chart: string | null;
  /** The other streams through which the same column passes. */
  also: { stream: string; href: string }[];
  /** The filters that take only its records, or all but them. */
  only: string | null;
  without: string | null;
  href: string | null;
}

export interface BoxPage {
  target: string;
  window: { inside: { start: string; end: string }; baseline: { start: string; end: string } };
  n: { inside: number; baseline: number };
  reason: string; // why there is nothing to compare
  against: string;
  rows: BoxRow[];
  total: number;
  took: number;
}

export interface StreamList {
  streams: { name: string; component: string; key: string | null; columns: number; first: string | null; last: string | null; findings: number; href: string }[];
  total: number;
}

/** One of two sides: a stretch of time; null: of all that there is. */
export interface Side {
  text: string;
  n: number;
  window: { start: string; end: string } | null;
  href: string | null;
}

export interface ComparePage {
  /** The task whose metrics are compared; empty: of none, or of none yet. */
  target: string;
  window?: Window;
  a?: Side;
  b?: Side;
  metrics?: { metric: string; title: string; unit: string; a: Value; b: Value; difference: Value | null }[];
  rows?: BoxRow[];
  /** What could be compared, while nothing is. */
  suggested?: { title: string; target: string; a: string; b: string }[];
  tasks?: string[];
  slices?: string[];
  versions?: string[];
  streams?: string[];
}

export interface Artifact {
  name: string;
  kind: string;
  fingerprint: string;
  rows: number | null;
  stream: string;
}

export interface Run {
  id: string;
  component: string;
  status: string;
  started: string | null;
  ended: string | null;
  duration: number | null;
  at: string | null;
  parent: string | null;
  host: string | null;
  error: string | null;
  code: Record<string, unknown> | null;
  params: Record<string, unknown>;
  metrics: Record<string, unknown>;
  inputs: Artifact[];
  outputs: Artifact[];
  changed: string[];
  href: string;
}

export interface RunsPage {
  rows: Run[];
  total: number;
  components: string[];
}

export interface TracePage {
  key: string | null;
  steps: {
    stream: string;
    time: string | null;
    logged: string | null;
    roles: { task: string; role: string }[];
    values: { column: string; value: unknown; kind: string; position: number | null; unusual: boolean; words: string; href: string }[];
    run: Run | null;
    version: string | null;
    delay: number | null;
    notes: string[];
  }[];
  examples?: string[];
}

export interface IncidentPage {
  incident: IncidentRow;
  actions: string[];
  findings: Finding[];
  time_line: { at: string; what: string; kind: string; where: Where | string | null }[];
  example: { key: string; href: string } | null;
  objectives: { name: string; expression: string; window: string }[];
  tasks: { name: string; href: string }[];
  /** Where what differs since it began is ranked. */
  box: string | null;
  causes: unknown[];
}

export interface IncidentsPage {
  rows: IncidentRow[];
  total: number;
  record: Record<string, number | null> | null;
}

export interface SearchPage {
  q: string;
  rows: { type: string; name: string; about: string; href: string }[];
  total: number;
}

export interface SettingsPage {
  project: string;
  store: string;
  state: string;
  engine: string;
  version: string;
  tokens: { id: string; name: string; role: string; projects: string[]; created: string; revoked: string | null }[] | null;
  channels: { name: string; kind: string; severity: string }[];
  retention: { stream: string; seconds: number | null }[];
  watch: Record<string, unknown>;
  objectives: { name: string; expression: string; window: string }[];
  waiting: number;
  problems: { kind: string; subject: string; message: string; advice: string }[];
}

export interface Who {
  name: string | null;
  /** What they may do; null: nothing, until they sign in. */
  role: string | null;
  signed_in: boolean;
  projects: string[];
  /** The project where the address names none; null: several can be meant. */
  project: string | null;
}
