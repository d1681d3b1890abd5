// All that pages do by themselves, without a library or a network: tables that sort, filter and page, the comparison of
// two runs, light and dark, and a page that reloads when `report.watch=true` has written it anew.
"use strict";

const MISSING = "missing";
const collator = new Intl.Collator("en", { numeric: true });

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function draw(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// A table. `items` are its rows: values by column (null is missing), and how the row is made when it is shown.
function grid(section, items) {
  const table = section.querySelector("table");
  const heads = [...table.tHead.rows[0].cells];
  const search = section.querySelector("input[type=search]");
  const selects = [...section.querySelectorAll("select[data-column]")];
  const pager = section.querySelector(".pager");
  const size = Number(section.dataset.size) || Infinity;
  for (const item of items) item.text = item.values.filter((each) => each !== null).join(" ").toLowerCase();
  for (const select of selects) fill(select, items.map((item) => item.values[select.dataset.column]));
  let page = 0;

  function wanted(item) {
    const words = search.value.toLowerCase().split(/\s+/);
    return words.every((word) => item.text.includes(word))
      && selects.every((select) => !select.value || String(item.values[select.dataset.column]) === select.value);
  }

  function sorted(chosen) {
    const column = heads.findIndex((head) => head.ariaSort);
    if (column < 0) return chosen;
    const sign = heads[column].ariaSort === "descending" ? -1 : 1;
    return chosen.toSorted((one, other) => {
      const [a, b] = [one.values[column], other.values[column]];
      if (a === null || b === null) return (a === null) - (b === null); // what is missing comes last both ways
      return sign * (typeof a === "number" ? a - b : collator.compare(a, b));
    });
  }

  function show() {
    const chosen = sorted(items.filter(wanted));
    const pages = Math.max(1, Math.ceil(chosen.length / size));
    page = Math.min(Math.max(page, 0), pages - 1);
    const first = page * size || 0;
    const rows = chosen.slice(first, first + size);
    table.tBodies[0].replaceChildren(...rows.map((item) => item.row()));
    section.querySelector(".count").textContent = `${chosen.length} of ${items.length} shown`;
    if (!pager) return;
    pager.hidden = pages === 1;
    pager.querySelector(".where").textContent = `page ${page + 1} of ${pages}`;
    const [previous, next] = pager.querySelectorAll("button");
    previous.disabled = page === 0;
    next.disabled = page === pages - 1;
  }

  heads.forEach((head) => head.querySelector("button")?.addEventListener("click", () => {
    const order = head.ariaSort === "ascending" ? "descending" : "ascending";
    heads.forEach((each) => each.removeAttribute("aria-sort"));
    head.ariaSort = order;
    restart();
  }));
  const restart = () => { page = 0; show(); };
  search.addEventListener("input", restart);
  selects.forEach((select) => select.addEventListener("change", restart));
  const form = section.querySelector("form");
  form.addEventListener("submit", (event) => event.preventDefault());
  pager?.querySelectorAll("button").forEach((button) => button.addEventListener("click", () => {
    page += Number(button.value);
    show();
  }));
  form.hidden = false;
  show();
  return (text) => { search.value = text; restart(); };
}

function fill(select, values) {
  const distinct = [...new Set(values.filter((each) => each !== null).map(String))].sort(collator.compare);
  select.append(...distinct.map((each) => make("option", { textContent: each })));
}

// Rows that the page holds already.
function standing(section) {
  return [...section.querySelector("tbody").rows].map((row) => ({
    values: [...row.cells].map((cell) => valueOf(cell.dataset.value ?? cell.textContent.trim())),
    row: () => row,
  }));
}

function valueOf(text) {
  if (text === "" || text === MISSING) return null;
  return Number.isNaN(Number(text)) ? text : Number(text);
}

// Rows made of data when they are shown: thousands of cases cost nothing until then.
function made(columns, rows) {
  return rows.map((values) => ({ values, row: () => make("tr", {}, ...values.map((value, i) => cell(columns[i], value))) }));
}

function cell(column, value) {
  if (column.kind === "id") return make("th", { scope: "row", className: "id", textContent: value });
  if (value === null) return make("td", { className: "dim", textContent: column.kind === "picture" ? "" : MISSING });
  if (column.kind === "number") return make("td", { textContent: value.toFixed(column.digits) });
  if (column.kind === "picture") return make("td", {}, thumbnail(value));
  if (column.kind === "links") return make("td", { className: "nowrap" }, ...value.flatMap((link) => [make("a", link), " "]));
  return make("td", { className: column.kind === "text" ? "nowrap" : "", textContent: value });
}

function thumbnail(number) {
  const picture = document.querySelector(`#picture-${number} img`);
  const image = make("img", { src: picture.src, alt: picture.alt, loading: "lazy", decoding: "async" });
  return make("a", { href: `#picture-${number}` }, image);
}

function dataOf(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

function runPage(section) {
  const { columns, rows } = dataOf("cases-data");
  const filter = grid(section, made(columns, rows));
  const follow = () => {
    const wanted = new URLSearchParams(location.hash.slice(1)).get("case");
    if (wanted === null) return;
    filter(wanted);
    section.scrollIntoView();
  };
  addEventListener("hashchange", follow);
  follow();
}

// The index: two runs are picked, then compared.
function picking(section) {
  const boxes = [...section.querySelectorAll("input[name=pick]")];
  const button = document.getElementById("compare");
  const said = document.getElementById("picked");
  const update = () => {
    const picked = boxes.filter((box) => box.checked);
    button.disabled = picked.length !== 2;
    said.textContent = picked.length ? `${picked.length} picked${picked.length > 2 ? ": two can be compared" : ""}` : "Pick two runs.";
    return picked.map((box) => box.value);
  };
  boxes.forEach((box) => box.addEventListener("change", update));
  button.addEventListener("click", () => {
    const [a, b] = update();
    location.href = `compare.html#${new URLSearchParams({ a, b })}`;
  });
  update();
}

// What `cases.js` of a run calls; scripts load from the file system too, where fetch() may not.
const salip = { waiting: new Map(), cases: (content) => salip.waiting.get(document.currentScript)(content) };

function load(run) {
  run.cases ??= new Promise((resolve, reject) => {
    const script = make("script", { src: `${run.folder}/cases.js` });
    script.onerror = () => reject(new Error(`${run.name} has no cases.js: task=report writes it`));
    salip.waiting.set(script, resolve);
    document.head.append(script);
  });
  return run.cases;
}

function comparing(view) {
  const [runs, known] = [dataOf("runs-data"), dataOf("paired-data")];
  const [first, second] = view.querySelectorAll("select.run");
  for (const select of [first, second]) {
    select.append(...runs.map((run) => make("option", { value: run.name, textContent: `${run.name} · ${run.title}` })));
    select.addEventListener("change", () => {
      history.replaceState(history.state, "", `#${new URLSearchParams({ a: first.value, b: second.value })}`);
      update();
    });
  }
  const update = async () => {
    const named = new URLSearchParams(location.hash.slice(1));
    first.value = named.get("a") ?? runs[0]?.name;
    second.value = named.get("b") ?? (runs[1] ?? runs[0])?.name;
    const chosen = [first, second].map((select) => runs.find((run) => run.name === select.value));
    const said = view.querySelector("#outcome");
    const result = view.querySelector("#result");
    result.replaceChildren();
    if (chosen.includes(undefined)) {
      said.textContent = "Choose two runs of the list.";
      return;
    }
    try {
      const [a, b] = await Promise.all(chosen.map(load));
      const pairs = paired(a, b);
      const lines = outcome(pairs, a, b, estimate(known, chosen, pairs.common));
      said.replaceChildren(...lines.map((line) => make("p", { textContent: line })));
      if (pairs.common.length) result.append(...compared(view, pairs, chosen));
    } catch (error) {
      said.textContent = error.message;
    }
  };
  addEventListener("hashchange", update);
  update();
}

// Common cases with a score in both runs, and how many there are of every other kind.
function paired(a, b) {
  const others = new Map(b.cases.map((each) => [each.id, each]));
  const shared = a.cases.filter((each) => others.has(each.id)).map((each) => [each, others.get(each.id)]);
  const common = shared.filter(([one, other]) => one.dsc !== null && other.dsc !== null);
  return {
    common,
    unscored: shared.length - common.length,
    onlyA: a.cases.length - shared.length,
    onlyB: b.cases.length - shared.length,
    reread: common.filter(([one, other]) => one.pixels !== other.pixels).length,
  };
}

// The mean of B − A with its interval as the page knows it, turned round where it knows A − B. The mean alone where it
// knows nothing, or where a run was made anew since, and so `cases.js`, of five digits, says something else.
function estimate(known, [a, b], common) {
  const difference = mean(common.map(([one, other]) => other.dsc - one.dsc));
  const of = (one, other) => known.find((each) => each.a === one.name && each.b === other.name);
  const back = of(b, a);
  const found = of(a, b) ?? (back && { ...back, difference: -back.difference, low: -back.high, high: -back.low });
  const same = found?.n === common.length && Math.abs(found.difference - difference) < 2e-5;
  return same ? found : { difference };
}

function mean(values) {
  return values.reduce((sum, each) => sum + each, 0) / values.length;
}

function outcome(pairs, a, b, estimated) {
  const n = pairs.common.length;
  if (!n) return [`The two runs have no case in common that has a score in both: ${a.dataset} and ${b.dataset}.`];
  const differences = pairs.common.map(([one, other]) => other.dsc - one.dsc);
  const higher = differences.filter((each) => each > 0).length;
  const lower = differences.filter((each) => each < 0).length;
  const lines = [
    `DSC of B − A: mean ${signed(estimated.difference)} [${ends(estimated)}] over n = ${n} common cases`
    + `${estimated.subjects ? ` of ${estimated.subjects} subjects` : ""} `
    + `(A ${mean(pairs.common.map(([one]) => one.dsc)).toFixed(3)}, B ${mean(pairs.common.map(([, other]) => other.dsc)).toFixed(3)}). `
    + `B is higher in ${higher}, lower in ${lower}, equal in ${n - higher - lower}.`,
  ];
  const rest = [
    [pairs.onlyA, "are in A alone"], [pairs.onlyB, "are in B alone"],
    [pairs.unscored, "are in both without a score in one"],
    [pairs.reread, "of the common ones were read differently: another file, size or window"],
  ].filter(([count]) => count).map(([count, what]) => `${count} ${what}`);
  return rest.length ? [...lines, `Of the cases, ${rest.join("; ")}.`] : lines;
}

function ends({ low, high }) {
  if (low === undefined) return MISSING;
  return low === high ? "–" : `${signed(low)}, ${signed(high)}`;
}

function signed(value) {
  return (value < 0 ? "−" : "+") + Math.abs(value).toFixed(3);
}

function compared(view, pairs, [a, b]) {
  const columns = [
    { kind: "id" }, { kind: "text" }, { kind: "number", digits: 3 }, { kind: "number", digits: 3 },
    { kind: "number", digits: 3 }, { kind: "number", digits: 3 }, { kind: "text" }, { kind: "text" }, { kind: "links" },
  ];
  const rows = pairs.common.map(([one, other]) => {
    const difference = other.dsc - one.dsc;
    return [one.id, one.group, one.dsc, other.dsc, difference, Math.abs(difference), one.failure, other.failure,
      [...links("A", a, one), ...links("B", b, other)]];
  });
  const section = document.getElementById("differences").content.cloneNode(true).firstElementChild;
  grid(section, made(columns, rows));
  return [scatter(pairs.common), section];
}

function links(side, run, one) {
  const where = { href: `${run.folder}/report.html#${new URLSearchParams({ case: one.id })}`, textContent: side, ariaLabel: `${side}: ${one.id} on its page` };
  return [where, ...one.files.map((file, i) => ({ href: `${run.folder}/${encodeURI(file)}`, textContent: `picture ${i + 1}`, ariaLabel: `${side}: picture ${i + 1} of ${one.id}` }))];
}

function scatter(common) {
  const [side, left, top] = [320, 40, 10];
  const x = (score) => (left + side * score).toFixed(1);
  const y = (score) => (top + side * (1 - score)).toFixed(1);
  const axes = [0, 0.25, 0.5, 0.75, 1].flatMap((tick) => [
    draw("line", { class: "grid", x1: x(tick), x2: x(tick), y1: y(0), y2: y(1) }),
    draw("line", { class: "grid", x1: x(0), x2: x(1), y1: y(tick), y2: y(tick) }),
    draw("text", { x: x(tick), y: top + side + 16 }, tick), draw("text", { class: "name", x: left - 6, y: Number(y(tick)) + 4 }, tick),
  ]);
  const equal = draw("line", { class: "mean", x1: x(0), x2: x(1), y1: y(0), y2: y(1) });
  const dots = common.map(([one, other]) => draw("circle", { cx: x(one.dsc), cy: y(other.dsc), r: 3 },
    draw("title", {}, `${one.id}: A ${one.dsc.toFixed(3)}, B ${other.dsc.toFixed(3)}`)));
  const titles = [draw("text", { x: left + side / 2, y: top + side + 32 }, "DSC of A"),
    draw("text", { x: 0, y: 0, transform: `translate(11 ${top + side / 2}) rotate(-90)` }, "DSC of B")];
  return draw("svg", { class: "chart scatter", role: "img", viewBox: `0 0 ${left + side + 20} ${top + side + 40}`,
    "aria-label": `DSC of B against DSC of A, a dot for each of ${common.length} common cases; above the line B is higher` },
  ...axes, equal, ...dots, ...titles);
}

function theming(button) {
  const root = document.documentElement;
  const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const say = () => { button.textContent = dark() ? "Light" : "Dark"; };
  root.dataset.theme = history.state?.theme ?? "";
  if (!root.dataset.theme) delete root.dataset.theme;
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    history.replaceState({ ...history.state, theme: root.dataset.theme }, "");
    say();
  });
  button.hidden = false;
  say();
}

// Served by `report.watch=true`: ask now and then whether this page was written anew.
async function watching() {
  if (location.protocol !== "http:") return;
  for (let before = null; ;) {
    let answer;
    try {
      answer = await fetch(`/state?${new URLSearchParams({ page: location.pathname })}`);
    } catch {
      return; // the server has ended; the page stays as it is
    }
    if (!answer.ok) return;
    const stamp = await answer.text();
    if (before !== null && stamp !== before) {
      history.replaceState({ ...history.state, left: chosen() }, "");
      location.reload();
    }
    before = stamp;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

// What a reader has chosen on the page, and the same chosen again after it was reloaded.
const CONTROLS = "section.grid :is(input[type=search], select)";
const PICKS = "section.grid input[name=pick]";

function chosen() {
  const sorted = document.querySelector("section.grid th[aria-sort]");
  return {
    controls: [...document.querySelectorAll(CONTROLS)].map((each) => each.value),
    picked: [...document.querySelectorAll(PICKS)].filter((each) => each.checked).map((each) => each.value),
    sorted: sorted && [sorted.cellIndex, sorted.ariaSort],
  };
}

function choose({ controls, picked, sorted }) {
  document.querySelectorAll(CONTROLS).forEach((each, i) => {
    each.value = controls[i];
    each.dispatchEvent(new Event(each.type === "search" ? "input" : "change"));
  });
  document.querySelectorAll(PICKS).forEach((each) => { if (picked.includes(each.value)) each.click(); });
  const head = sorted && document.querySelectorAll("section.grid th[scope=col]")[sorted[0]];
  while (head && head.ariaSort !== sorted[1]) head.querySelector("button").click();
}

theming(document.getElementById("theme"));
document.querySelectorAll("section.grid:not(#cases)").forEach((section) => grid(section, standing(section)));
for (const [id, start] of [["cases", runPage], ["runs", picking], ["comparison", comparing]]) {
  const element = document.getElementById(id);
  if (element) start(element);
}
if (history.state?.left) choose(history.state.left);
watching();
