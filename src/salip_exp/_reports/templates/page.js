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
  columns(section, heads);
  form.hidden = false;
  show();
  return { filter: (text) => { search.value = text; restart(); }, listed: () => sorted(items.filter(wanted)) };
}

// Which columns a table shows: a box for each, and one rule of style for those that are off.
function columns(section, heads) {
  const place = section.querySelector("details.columns");
  if (!place) return;
  const style = document.head.appendChild(make("style"));
  const narrow = matchMedia("(max-width: 40rem)").matches;
  const boxes = heads.map((head) => make("input", {
    type: "checkbox", name: "column", checked: !head.dataset.shown || (head.dataset.shown === "wide" && !narrow),
  }));
  const update = () => {
    const off = boxes.flatMap((box, i) => (box.checked ? [] : [`#${section.id} tr > :nth-child(${i + 1})`]));
    style.textContent = off.length ? `${off.join()} { display: none; }` : "";
  };
  boxes.forEach((box) => box.addEventListener("change", update));
  place.append(make("div", {}, ...heads.map((head, i) => make("label", {}, boxes[i], ` ${head.textContent}`))));
  update();
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
  if (column.kind === "case") return make("th", { scope: "row", className: "id" }, opener(value, value));
  if (column.kind === "id") return make("th", { scope: "row", className: "id", textContent: value });
  if (value === null) return make("td", { className: "dim", textContent: column.kind === "picture" ? "" : MISSING });
  if (column.kind === "number") return make("td", { textContent: value.toFixed(column.digits) });
  if (column.kind === "picture") return make("td", {}, thumbnail(value));
  if (column.kind === "links") return make("td", { className: "nowrap" }, ...value.flatMap((link) => [make("a", link), " "]));
  return make("td", { className: column.kind === "text" ? "nowrap" : "", textContent: value });
}

function thumbnail(number) {
  const card = viewer.cards[number];
  return opener(card.case, make("img", { src: card.src, alt: `overlay of ${card.case}`, loading: "lazy", decoding: "async" }));
}

// What shows a case of the table at a click; its neighbours there come before and after it.
function opener(name, content) {
  const button = make("button", { type: "button", className: "opens" }, content);
  button.addEventListener("click", () => viewer.open(viewer.listed(), name));
  return button;
}

// One case, whole: its picture, its strip, how to try another sentence on it. What the page lacks of it is asked of the
// server of `report.watch=true`, once.
const viewer = { cards: [], known: new Map(), plain: () => {}, listed: () => [], open: () => {} };
const STEP = 24;

function viewing(dialog) {
  const { explore, odd, why } = dataOf("viewer-data");
  const [what, because, look, rest, command, copy] = [".what", ".why", ".look", ".rest", ".command", ".copy"].map((each) => dialog.querySelector(each));
  let [names, at] = [[], 0];

  function show(card, saying = "") {
    if (names[at] !== card.case) return;
    const strip = typeof card.strip === "number" ? document.querySelector(`#strip-${card.strip} img`).src : card.strip;
    what.textContent = caption(card);
    because.textContent = card.lost ? `Lost by ${card.lost}: ${why.lost[card.lost]}.` : card.flag ? `Doubted, ${card.flag}: ${why.flag[card.flag]}.` : "";
    look.replaceChildren(...(card.src ? [layered(card)] : []));
    rest.replaceChildren(
      ...(strip ? [make("div", { className: "strip", tabIndex: 0, role: "region", ariaLabel: "its cascade" }, make("img", { src: strip, alt: `cascade of ${card.case}` }))] : []),
      make("p", { className: "dim", role: "status", textContent: saying || (card.said ?? "") }));
    if (explore) command.textContent = `${explore}${odd[card.case] ?? card.case}`;
  }

  async function complete(card) {
    if (!card.src && !location.protocol.startsWith("http")) await nearby(card);
    const lacking = [["layers", !Object.keys(card.outlines).length], ["strip", !card.strip && card.strip !== 0]].filter(([, lacks]) => lacks && !card.said);
    try {
      for (const [name] of lacking) {
        show(card, `Drawing its ${name} …`);
        Object.assign(card, await drawn(name, card.case));
      }
    } catch (error) {
      card.said = error.message;
    }
    show(card);
  }

  viewer.open = (list, name) => {
    [names, at] = [list, Math.max(0, list.indexOf(name))];
    copy.textContent = "Copy";
    if (!viewer.known.has(names[at])) viewer.known.set(names[at], viewer.plain(names[at]));
    const card = viewer.known.get(names[at]);
    show(card);
    if (!dialog.open) dialog.showModal();
    complete(card);
  };
  dialog.querySelectorAll("button[value]").forEach((button) => button.addEventListener("click", () => {
    viewer.open(names, names[(at + Number(button.value) + names.length) % names.length]);
  }));
  copy.addEventListener("click", () => copied(copy, command));
  layering();
}

// Layers of all pictures, shown and hidden together by any of their boxes.
function layering() {
  const boxes = [...document.querySelectorAll(".layers input")];
  boxes.forEach((box) => box.addEventListener("change", () => {
    document.body.classList.toggle(`no-${box.value}`, !box.checked);
    for (const each of boxes) if (each.value === box.value) each.checked = box.checked;
  }));
}

// Copied where a browser lets a page do that, and else selected, to be copied by hand.
async function copied(button, place) {
  getSelection().selectAllChildren(place);
  const done = await (navigator.clipboard?.writeText(place.textContent).then(() => true, () => false) ?? false);
  button.textContent = done ? "Copied" : "Selected";
}

// The pictures of a case that lie beside a page which is not served.
const own = { folder: ".", name: "this run" };

async function nearby(card) {
  const { cases } = await load(own).catch(() => ({ cases: [] }));
  const files = cases.find((each) => each.id === card.case)?.files ?? [];
  card.strip = files.find((each) => each.startsWith("figures/strip_"));
  const drawn = files.find((each) => each !== card.strip);
  if (drawn === undefined) return;
  const image = make("img", { src: drawn });
  await image.decode().catch(() => {});
  Object.assign(card, { src: drawn, size: [image.naturalWidth, image.naturalHeight] });
}

// What a server draws of a case: layers that lie over its image, or its strip.
async function drawn(what, name) {
  const unserved = new Error("The rest is drawn on a click where task=report report.watch=true serves this page; figures=all draws every case with the run.");
  if (!location.protocol.startsWith("http")) throw unserved;
  const answer = await fetch(`/${what}`, { method: "POST", body: JSON.stringify({ page: location.pathname, case: name }) });
  const told = await answer.json().catch(() => { throw unserved; });
  if (!answer.ok) throw new Error(`Not drawn: ${told.error}`);
  return told;
}

// Pictures of cases: sorted, filtered, their layers shown and hidden; a click shows one with its strip.

function layered(card) {
  const [width, height] = card.size;
  const picture = draw("svg", { class: "layered", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `overlay of ${card.case}` },
    draw("image", { href: card.src, width, height, preserveAspectRatio: "none" }));
  for (const [name, path] of Object.entries(card.outlines)) picture.append(draw("path", { class: name, d: path }));
  for (const [x0, y0, x1, y1] of card.boxes) {
    if (card.outlines.prediction !== undefined) picture.append(draw("rect", { class: "box", x: x0, y: y0, width: x1 - x0 + 1, height: y1 - y0 + 1 }));
  }
  return picture;
}

const TURNING = /[\u0590-\u08ff\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufefc]/;

// A name of the user's, from right to left or turned round, beside words that are not to be turned with it.
function apart(name) {
  return TURNING.test(name) ? `\u2068${name}\u2069` : name;
}

function caption(card) {
  return [card.rule, card.group, apart(card.case), card.dsc === null ? null : `DSC ${card.dsc.toFixed(3)}`,
    card.belief === null ? null : `${card.by} ${card.belief.toFixed(3)}`, card.lost && `lost by ${card.lost}`].filter(Boolean).join(" · ");
}

function showing(section) {
  const cards = dataOf("cards-data");
  const [place, more] = [".figures", ".more"].map((each) => section.querySelector(each));
  const [order, group] = section.querySelectorAll("select");
  fill(group, cards.map((card) => card.group));
  let [chosen, n] = [cards, STEP];

  function show() {
    chosen = cards.filter((card) => !group.value || card.group === group.value);
    const key = order.value.replace("-", "");
    const sign = order.value.startsWith("-") ? -1 : 1;
    if (key !== "rule") chosen = chosen.toSorted((a, b) => (a[key] === null) - (b[key] === null) || sign * (a[key] - b[key]));
    place.replaceChildren(...chosen.slice(0, n).map((card) => {
      const button = make("button", { type: "button" }, layered(card));
      button.addEventListener("click", () => viewer.open(chosen.map((each) => each.case), card.case));
      return make("figure", {}, button, make("figcaption", { textContent: caption(card) }));
    }));
    section.querySelector(".count").textContent = `${Math.min(n, chosen.length)} of ${chosen.length} shown`;
    more.hidden = chosen.length <= n;
  }

  viewer.cards = cards;
  cards.forEach((card) => viewer.known.set(card.case, card));
  order.addEventListener("change", show);
  group.addEventListener("change", show);
  group.parentElement.hidden = group.options.length < 3;
  more.addEventListener("click", () => { n += STEP; show(); });
  section.querySelector("form").hidden = false;
  show();
}

function dataOf(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

function runPage(section) {
  const { columns, rows } = dataOf("cases-data");
  const [group, dsc, lost, flag] = ["group", "DSC", "lost by", "flagged"].map((title) => columns.findIndex((each) => each.title === title));
  viewer.plain = (name) => {
    const row = rows.find((each) => each[0] === name);
    const cause = row[lost] === "none" ? null : row[lost];
    return { case: name, group: row[group], dsc: row[dsc] ?? null, belief: null, lost: cause, flag: row[flag], outlines: {}, boxes: [] };
  };
  const { filter, listed } = grid(section, made(columns, rows));
  viewer.listed = () => listed().map((item) => item.values[0]);
  const follow = () => {
    const wanted = new URLSearchParams(location.hash.slice(1)).get("case");
    if (wanted === null) return;
    filter(wanted);
    section.scrollIntoView();
  };
  addEventListener("hashchange", follow);
  follow();
}

// The index: two runs or more are picked, then compared.
function picking(button) {
  const boxes = [...document.querySelectorAll("input[name=pick]")];
  const said = document.getElementById("picked");
  const update = () => {
    const picked = boxes.filter((box) => box.checked);
    button.disabled = picked.length < 2;
    said.textContent = picked.length ? `${picked.length} picked` : "Pick two runs or more.";
    return picked.map((box) => box.value);
  };
  boxes.forEach((box) => box.addEventListener("change", update));
  button.addEventListener("click", () => {
    const [a, ...others] = update();
    location.href = `compare.html#${new URLSearchParams([["a", a], ...others.map((b) => ["b", b])])}`;
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
    select.append(...runs.map((run) => make("option", { value: run.name, textContent: run.title })));
    select.addEventListener("change", () => {
      const rest = new URLSearchParams(location.hash.slice(1)).getAll("b").slice(1).filter((b) => b !== second.value);
      const chosen = [["a", first.value], ["b", second.value], ...rest.map((b) => ["b", b])];
      history.replaceState(history.state, "", `#${new URLSearchParams(chosen)}`);
      update();
    });
  }
  const update = async () => {
    const named = new URLSearchParams(location.hash.slice(1));
    first.value = named.get("a") ?? runs[0]?.name;
    second.value = named.get("b") ?? (runs[1] ?? runs[0])?.name;
    const picked = [first.value, second.value, ...named.getAll("b").slice(1)];
    const chosen = picked.map((name) => runs.find((run) => run.name === name));
    const said = view.querySelector("#outcome");
    const result = view.querySelector("#result");
    const told = view.querySelector("#told");
    result.replaceChildren();
    told.replaceChildren();
    if (chosen.includes(undefined)) {
      said.textContent = "Choose two runs of the list.";
      return;
    }
    try {
      const loaded = await Promise.all(chosen.map(load));
      const [a, b] = loaded;
      const names = [first, second].map((each, i) => `${letter(i)}: ${each.selectedOptions[0].textContent}`);
      told.append(make("p", { className: "printed", textContent: names.join("; ") })); // on paper there are no menus
      told.append(configured(loaded.map((each) => each.told)));
      if (chosen.length > 2) told.append(several(known, chosen, loaded));
      const pairs = paired(a, b);
      const lines = outcome(pairs, a, b, estimate(known, chosen, pairs.common));
      said.replaceChildren(...lines.map((line) => make("p", { textContent: line })));
      if (pairs.common.length) result.append(...compared(view, pairs, chosen, [a.axis, b.axis]));
    } catch (error) {
      said.textContent = error.message;
    }
  };
  addEventListener("hashchange", update);
  update();
}

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const letter = (i) => LETTERS[i] ?? String(i + 1);

// The keys in which runs differ, and the sentences that not all of them read; as `between` of the package.
function configured(all) {
  const silent = all.findIndex((each) => !each);
  if (silent >= 0) return make("p", { textContent: `What differs in the configuration is ${MISSING}: ${letter(silent)} does not tell its own.` });
  const keys = Object.keys(Object.assign({}, ...all.map((each) => each.settings)));
  const rows = keys.map((key) => [key, ...all.map((each) => each.settings[key] ?? "–")]);
  if (all.every((each) => each.sentences.length)) rows.push(...sentences(all.map((each) => each.sentences)));
  const differing = rows.filter(([, one, ...others]) => others.some((each) => each !== one));
  if (!differing.length) return make("p", { textContent: "Nothing in the configuration differs." });
  const section = document.getElementById("settings").content.cloneNode(true).firstElementChild;
  section.querySelector("thead tr").append(...all.map((_, i) => make("th", { scope: "col", textContent: letter(i) })));
  section.querySelector("tbody").append(...differing.map(([key, ...values]) => make("tr", {},
    make("th", { scope: "row", textContent: key }),
    ...values.map((value, i) => make("td", {}, ...(key === "sentence" ? marked(value, values[i ? 0 : 1]) : [value]))))));
  return section;
}

// Rows of sentences: one that not all read stands beside the likest of each other run, so that words can be compared.
function sentences(all) {
  const own = all.map((each, i) => each.filter((one) => !all.every((other, j) => i === j || other.includes(one))));
  const rows = [];
  own.forEach((each, i) => each.forEach((one) => {
    if (rows.some((row) => row[i + 1] === one)) return;
    rows.push(["sentence", ...own.map((others, j) => {
      if (i === j || others.includes(one)) return one;
      return others.find((other) => alike(one, other) && !rows.some((row) => row[j + 1] === other)) ?? "–";
    })]);
  }));
  return rows;
}

const words = (text) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];

function alike(one, other) {
  const [a, b] = [new Set(words(one)), new Set(words(other))];
  return 2 * [...a].filter((word) => b.has(word)).length > Math.max(a.size, b.size);
}

// A sentence with the words marked that the other one does not have.
function marked(text, other) {
  if (text === "–" || other === "–") return [text];
  const known = new Set(words(other));
  return text.split(/(\s+)/).map((part) => (words(part).some((word) => !known.has(word)) ? make("mark", { textContent: part }) : part));
}

// More than two runs: each beside the first, with a link to its cases.
function several(known, chosen, loaded) {
  const section = document.getElementById("several").content.cloneNode(true).firstElementChild;
  section.querySelector("tbody").append(...chosen.slice(1).map((run, i) => {
    const { common } = paired(loaded[0], loaded[i + 1]);
    const found = common.length ? estimate(known, [chosen[0], run], common) : null;
    const others = chosen.slice(1).filter((each) => each !== run);
    const link = `#${new URLSearchParams([["a", chosen[0].name], ["b", run.name], ...others.map((each) => ["b", each.name])])}`;
    return make("tr", {}, make("td", { textContent: letter(i + 1) }),
      make("th", { scope: "row" }, make("a", { href: link, textContent: run.title })),
      make("td", { className: "nowrap", textContent: found ? `${signed(found.difference)} [${ends(found)}]` : MISSING }),
      make("td", { textContent: common.length }), make("td", { className: "nowrap", textContent: found ? chance(found.p) : MISSING }));
  }));
  return section;
}

function chance(p) {
  if (p === undefined || p === null) return MISSING;
  return p < 0.001 ? "< 0.001" : p.toFixed(3);
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
    + `B is higher in ${higher}, lower in ${lower}, equal in ${n - higher - lower}. Paired test: p ${chance(estimated.p).startsWith("<") ? "" : "= "}${chance(estimated.p)}.`,
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

function compared(view, pairs, [a, b], axes) {
  const columns = [
    { kind: "id" }, { kind: "text" }, { kind: "number", digits: 3 }, { kind: "number", digits: 3 },
    { kind: "number", digits: 3 }, { kind: "number", digits: 3 }, { kind: "number", digits: 0 }, { kind: "text" }, { kind: "text" }, { kind: "links" },
  ];
  const [ranksA, ranksB] = [0, 1].map((side) => ranks(pairs.common.map((pair) => pair[side].dsc)));
  const rows = pairs.common.map(([one, other], i) => {
    const difference = other.dsc - one.dsc;
    return [one.id, one.group, one.dsc, other.dsc, difference, Math.abs(difference), ranksA[i] - ranksB[i], one.failure, other.failure,
      [...links("A", a, one), ...links("B", b, other)]];
  });
  const section = document.getElementById("differences").content.cloneNode(true).firstElementChild;
  grid(section, made(columns, rows));
  return [make("div", { className: "pair" }, scatter(pairs.common, axes), moved(pairs.common, ranksA, ranksB)), ...beside(pairs.common, a, b), section];
}

// From 1 for the highest score; equal scores share the first of their ranks.
function ranks(scores) {
  const sorted = scores.toSorted((a, b) => b - a);
  const first = new Map();
  sorted.forEach((score, i) => { if (!first.has(score)) first.set(score, i + 1); });
  return scores.map((score) => first.get(score));
}

// The cases that change their rank most.
function moved(common, ranksA, ranksB) {
  const changes = common.map(([one], i) => [one.id, ranksA[i], ranksB[i]]).filter(([, a, b]) => a !== b);
  const most = changes.toSorted((x, y) => Math.abs(y[1] - y[2]) - Math.abs(x[1] - x[2])).slice(0, 8);
  const list = most.map(([id, a, b]) => make("li", {}, make("b", { textContent: `${a} → ${b}` }), ` ${apart(id)}`));
  return make("div", {}, make("h2", { textContent: "Changes of rank" }),
    make("p", { className: "dim", textContent: `${changes.length} of ${common.length} cases have another rank by DSC in B; 1 is the best.${most.length ? " The largest:" : ""}` }), make("ul", { className: "id" }, ...list));
}

const SIDES = 6;

// The cases that differ most of those that have a picture, in both runs where there is one.
function beside(common, a, b) {
  const drawn = common.filter(([one, other]) => one.files.length || other.files.length);
  const both = (pair) => Number(pair.every((each) => each.files.length));
  const size = ([one, other]) => Math.abs(other.dsc - one.dsc);
  const most = drawn.toSorted((x, y) => both(y) - both(x) || size(y) - size(x)).slice(0, SIDES);
  if (!most.length) return [];
  const section = document.getElementById("beside").content.cloneNode(true).firstElementChild;
  section.querySelector(".sides").append(...most.map(([one, other]) => make("figure", {},
    make("div", { className: "two" }, side("A", a, one), side("B", b, other)),
    make("figcaption", { textContent: `${apart(one.id)}: A ${one.dsc.toFixed(3)}, B ${other.dsc.toFixed(3)} (${signed(other.dsc - one.dsc)})` }))));
  return [section];
}

function side(name, run, one) {
  if (!one.files.length) return make("p", { className: "dim", textContent: `${name} drew none.` });
  const href = `${run.folder}/${encodeURI(one.files[0])}`;
  return make("a", { href }, make("img", { src: href, alt: `${name}: ${one.id}`, loading: "lazy", decoding: "async" }));
}

function links(side, run, one) {
  const where = { href: `${run.folder}/report.html#${new URLSearchParams({ case: one.id })}`, textContent: side, ariaLabel: `${side}: ${one.id} on its page` };
  return [where, ...one.files.map((file, i) => ({ href: `${run.folder}/${encodeURI(file)}`, textContent: `picture ${i + 1}`, ariaLabel: `${side}: picture ${i + 1} of ${one.id}` }))];
}

const TICKS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1]; // of which the last is wide enough for all scores

// One axis over those of two runs, each as `charts.axis` of the package has it, in steps that leave room for their figures.
function joined(axes) {
  const span = Math.max(...axes.map((each) => each.high)) - Math.min(...axes.map((each) => each.low));
  const widest = Math.max(span / 10, ...axes.map((each) => each.step));
  const step = TICKS.find((each) => each >= widest - 1e-9) ?? TICKS.at(-1);
  const low = Math.floor(Math.min(...axes.map((each) => each.low)) / step + 1e-9) * step;
  const high = Math.min(1, Math.ceil(Math.max(...axes.map((each) => each.high)) / step - 1e-9) * step);
  const ticks = Array.from({ length: Math.round((high - low) / step) + 1 }, (_, i) => low + i * step);
  return { low, share: (score) => Math.min(1, Math.max(0, (score - low) / (high - low))), ticks, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function scatter(common, of) {
  const [side, left, top] = [320, 84, 10]; // room for the larger letters of phones, too
  const axis = joined(of);
  const x = (score) => (left + side * axis.share(score)).toFixed(1);
  const y = (score) => (top + side * (1 - axis.share(score))).toFixed(1);
  const [first, last] = [axis.ticks[0], axis.ticks.at(-1)];
  const axes = axis.ticks.flatMap((tick) => [
    draw("line", { class: "grid", x1: x(tick), x2: x(tick), y1: y(first), y2: y(last) }),
    draw("line", { class: "grid", x1: x(first), x2: x(last), y1: y(tick), y2: y(tick) }),
    draw("text", { x: x(tick), y: top + side + 6, dy: "1.2em" }, tick.toFixed(axis.digits)),
    draw("text", { class: "name", x: left - 6, y: y(tick), dy: ".35em" }, tick.toFixed(axis.digits)),
  ]);
  const below = common.filter((pair) => pair.some((each) => each.dsc < axis.low)).length;
  const equal = draw("line", { class: "mean", x1: x(first), x2: x(last), y1: y(first), y2: y(last) });
  const dots = common.map(([one, other]) => draw("circle", { cx: x(one.dsc), cy: y(other.dsc), r: 3 },
    draw("title", {}, `${one.id}: A ${one.dsc.toFixed(3)}, B ${other.dsc.toFixed(3)}`)));
  const titles = [draw("text", { x: left + side / 2, y: top + side + 6, dy: "2.6em" }, `DSC of A${below ? `; ${below} lower in one, at the edge` : ""}`),
    draw("text", { x: 0, y: 0, dy: "1em", transform: `translate(2 ${top + side / 2}) rotate(-90)` }, "DSC of B")];
  return draw("svg", { class: "chart scatter", role: "img", viewBox: `0 0 ${left + side + 20} ${top + side + 66}`,
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
    document.querySelectorAll(".taken a").forEach((each) => each.replaceWith(...each.childNodes)); // pages alone are served
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
const COLUMNS = "section.grid input[name=column]";
const PICKS = "section.grid input[name=pick]";

function chosen() {
  const sorted = document.querySelector("section.grid th[aria-sort]");
  return {
    controls: [...document.querySelectorAll(CONTROLS)].map((each) => each.value),
    columns: [...document.querySelectorAll(COLUMNS)].map((each) => each.checked),
    picked: [...document.querySelectorAll(PICKS)].filter((each) => each.checked).map((each) => each.value),
    sorted: sorted && [sorted.cellIndex, sorted.ariaSort],
  };
}

function choose({ controls, columns, picked, sorted }) {
  document.querySelectorAll(COLUMNS).forEach((each, i) => { if (each.checked !== columns[i]) each.click(); });
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
for (const [id, start] of [["viewer", viewing], ["gallery", showing], ["cases", runPage], ["compare", picking], ["comparison", comparing]]) {
  const element = document.getElementById(id);
  if (element) start(element);
}
if (history.state?.left) choose(history.state.left);
watching();
