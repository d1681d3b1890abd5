(() => {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const start = JSON.parse($("start").textContent);
  const token = new URLSearchParams(location.search).get("visit");
  const scale = 3;
  const colours = { target: "#2fbf71", prediction: "#ffb000", candidate: "#4aa8ff", prompt: "#ff5fa2" };
  const sliders = [
    ["area_threshold", start.unit === "fraction" ? "area below, share of the image" : "area below, pixels", 0, start.unit === "fraction" ? 1 : 100000, start.unit === "fraction" ? 0.005 : 1],
    ["pred_iou_thresh", "SAM's predicted IoU above", 0, 1, 0.01],
    ["stability_score_thresh", "stability at least", 0, 1, 0.01],
    ["box_nms_thresh", "overlap of boxes at most", 0, 1, 0.01],
  ];

  const own = (asked) => ({ ...asked, sentences: asked.sentences.map((text) => ({ text, on: true })) });
  let state = own(start.asked);
  let past = [], future = [];
  const sets = [{ name: "as configured", state: structuredClone(state) }];
  let [at0, shown] = start.first, picture = null, drawn = {}, boxes = [], points = [], drag = null, turn = 0;

  const asked = (from) => ({ ...from, sentences: from.sentences.filter((each) => each.on && each.text.trim()).map((each) => each.text) });
  const before = () => asked(sets[$("before").selectedIndex].state);
  const number = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits));

  async function post(question, body) {
    const answer = await fetch(`/api/${question}`, { method: "POST", headers: { "X-Token": token, "Content-Type": "application/json" }, body: JSON.stringify(body) });
    const told = await answer.json().catch(() => ({ error: answer.statusText }));
    if (!answer.ok) throw new Error(told.error);
    return told;
  }

  function say(text, bad = false) {
    $("said").textContent = text;
    $("said").className = bad ? "bad" : "dim";
  }
  const tried = (work) => work.catch((error) => say(error.message, true));

  function element(name, text = "", kind = "") {
    const made = document.createElement(name);
    if (text !== "") made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }

  // What was done, and undone
  function changing() {
    past.push(structuredClone(state));
    future = [];
  }
  function move(from, to) {
    if (!from.length) return;
    to.push(structuredClone(state));
    state = from.pop();
    controls();
    refresh();
  }

  // Sentences and thresholds
  let typing = null, waiting = 0;
  function soon() {
    document.body.dataset.turn = "waiting";
    clearTimeout(waiting);
    waiting = setTimeout(refresh, 200);
  }
  function controls() {
    $("undo").disabled = !past.length;
    $("redo").disabled = !future.length;
    $("sentences").replaceChildren(...state.sentences.map(sentence));
    for (const [name] of sliders) $(name).value = $(`${name}-number`).value = state[name];
    $("area_enabled").checked = state.area_enabled;
  }
  function sentence(each, place) {
    const row = element("li"), on = element("input"), text = element("textarea"), gone = element("button", "Remove");
    row.className = each.on ? "" : "off";
    on.type = "checkbox";
    on.checked = each.on;
    on.setAttribute("aria-label", `use sentence ${place + 1}`);
    text.value = each.text;
    text.rows = 1;
    text.maxLength = 10000;
    text.setAttribute("aria-label", `sentence ${place + 1}`);
    gone.type = "button";
    gone.setAttribute("aria-label", `remove sentence ${place + 1}`);
    on.onchange = () => { changing(); each = state.sentences[place]; each.on = on.checked; controls(); refresh(); };
    text.oninput = () => {
      if (typing !== text) { changing(); typing = text; $("undo").disabled = false; $("redo").disabled = true; }
      state.sentences[place].text = text.value;
      soon();
    };
    text.onchange = () => { typing = null; };
    gone.onclick = () => { changing(); state.sentences.splice(place, 1); controls(); refresh(); $("add").focus(); };
    row.append(on, element("span", String(place + 1), "number"), text, gone);
    return row;
  }
  function build() {
    for (const [name, words, least, most, step] of sliders) {
      const row = element("div", "", "slider"), label = element("label", words), range = element("input"), field = element("input");
      range.type = "range";
      field.type = "number";
      range.id = name;
      label.htmlFor = name;
      field.id = `${name}-number`;
      field.setAttribute("aria-label", `${words}, as a number`);
      for (const each of [range, field]) {
        Object.assign(each, { min: least, max: most });
        each.step = each === range ? step : "any";
        each.oninput = () => {
          const value = Number(each.value);
          if (each.value === "" || !Number.isFinite(value)) return;
          if (typing !== each) { changing(); typing = each; $("undo").disabled = false; $("redo").disabled = true; }
          state[name] = value;
          (each === range ? field : range).value = value;
          soon();
        };
        each.onchange = () => { typing = null; };
      }
      row.append(label, range, field);
      $("sliders").append(row);
    }
    const label = element("label"), box = element("input");
    box.type = "checkbox";
    box.id = "area_enabled";
    box.onchange = () => { changing(); state.area_enabled = box.checked; controls(); refresh(); };
    label.append(box, " leave out candidates that are larger than that area");
    $("sliders").prepend(label);
  }

  // Cases: the page knows the one it shows, and asks for others by place or by a part of their name
  const LISTED = 200;
  let looking = 0, compared = null;
  async function step(by) {
    const [next] = await post("cases", { start: at0 + by, count: 1 });
    await show(next);
  }
  async function named(id) {
    const [found] = await post("like", { text: id });
    if (!found) { say(`there is no case ${id}`, true); return; }
    await show(found);
  }
  async function offer(text) {
    const found = await post("like", { text });
    $("ids").replaceChildren(...found.map(([, id]) => { const each = element("option"); each.value = id; return each; }));
  }
  function choices() {
    const chosen = $("which").value || "all", options = [["all", `all ${start.total.toLocaleString("en")} cases`], ["one", "this case"]];
    if (compared) options.push(["compared", `the ${compared.count.toLocaleString("en")} compared`]);
    $("which").replaceChildren(...options.map(([value, words]) => { const each = element("option", words); each.value = value; return each; }));
    $("which").value = chosen;
  }

  // One case
  async function show([place, id, group]) {
    [at0, shown] = [place, id];
    $("case").value = id;
    $("place").textContent = `${(place + 1).toLocaleString("en")} of ${start.total.toLocaleString("en")}${group ? `, ${group}` : ""}`;
    boxes = []; points = []; fields();
    const told = await post("image", { case: id });
    if (shown !== id) return;
    picture = { ...told, image: new Image() };
    picture.image.src = told.uri;
    drawn = { target: told.target ? unpacked(told.target) : null };
    await picture.image.decode();
    $("canvas").width = told.width * scale;
    $("canvas").height = told.height * scale;
    $("prompted").textContent = "";
    await refresh();
  }
  async function refresh() {
    const mine = ++turn; document.body.dataset.turn = String(mine);
    drawn.candidate = null; // its number may be of another pool now
    const now = asked(state), then = before(), id = shown;
    draw();
    try {
      const begun = performance.now();
      const told = await post("case", { case: id, asked: now, before: then });
      if (mine !== turn) return;
      ranking(told, performance.now() - begun);
      say("");
      const [one] = await post("scores", { cases: [id], asked: now, masks: true });
      if (mine !== turn) return;
      drawn.prediction = one.mask ? unpacked(one.mask) : null;
      drawn.boxes = one.boxes ?? [];
      const [old] = await post("scores", { cases: [id], asked: then });
      if (mine !== turn) return;
      figures(one, old);
      document.body.dataset.settled = String(mine);
      draw();
      if ($("follow").checked) await compare(mine);
    } catch (error) {
      if (mine === turn) say(error.message, true);
    }
  }
  function figures(now, old) {
    for (const name of ["dsc", "confidence"]) {
      $(name).textContent = number(now[name]);
      change($(`${name}-old`), now[name], old[name]);
    }
    $("flag").textContent = now.error ?? (now.flag ? `Doubted, ${now.flag}: ${now.reason}` : now.status === "ok" ? "" : now.status);
    $("flag").classList.toggle("bad", Boolean(now.error));
  }
  function change(place, now, old) {
    place.replaceChildren();
    if (typeof old !== "number" || typeof now !== "number") return;
    const by = now - old, kind = Math.abs(by) < 5e-4 ? "" : by > 0 ? "up" : "down";
    place.append(`before ${number(old)} `, element("span", kind ? `${by > 0 ? "+" : "−"}${Math.abs(by).toFixed(3)}` : "±0", kind));
  }
  function ranking(told, took) {
    $("pool").textContent = String(told.kept[0]);
    $("pool-old").textContent = `of ${told.pool[0]} by SAM; before ${told.kept[1]} of ${told.pool[1]}`;
    const lost = told.lost ? `; ${told.lost} of the choice before is gone` : "";
    $("took").textContent = `${took.toFixed(0)} ms${lost}. Ticked: retrieved. A number shows its mask.`;
    const n = told.candidates.length ? told.candidates[0].sentences.length : 0;
    const head = element("tr");
    for (const each of ["rank", "before", "number", "score", "area", ...Array.from({ length: n }, (_, i) => `${i + 1}`)]) {
      const cell = element("th", each, "num");
      if (/^\d+$/.test(each)) cell.title = asked(state).sentences[Number(each) - 1] ?? "";
      head.append(cell);
    }
    $("ranking-head").replaceChildren(head);
    $("ranking").replaceChildren(...told.candidates.map((each) => {
      const row = element("tr", "", each.selected ? "selected" : "");
      const was = element("td", each.old === null ? "new" : String(each.old), "num");
      if (each.old !== null && each.old !== each.rank) was.classList.add(each.old > each.rank ? "up" : "down");
      const cell = element("td", "", "num"), button = element("button", String(each.number));
      button.type = "button";
      button.setAttribute("aria-label", `show candidate ${each.number}`);
      button.onclick = () => tried(candidate(each.number));
      cell.append(button);
      const share = picture ? `${((100 * each.area) / picture.width / picture.height).toFixed(1)} %` : "";
      row.append(element("td", String(each.rank), "num"), was, cell, element("td", number(each.score, 4), "num"), element("td", share, "num"), ...each.sentences.map((score) => element("td", number(score, 4), "num")));
      return row;
    }));
  }
  async function candidate(which) {
    const told = await post("candidate", { case: shown, asked: asked(state), number: which });
    drawn.candidate = unpacked(told.mask);
    draw();
  }

  // The picture
  function unpacked(bits) {
    const raw = atob(bits), mask = new Uint8Array(picture.width * picture.height);
    for (let i = 0; i < mask.length; i++) mask[i] = (raw.charCodeAt(i >> 3) >> (7 - (i & 7))) & 1;
    return mask;
  }
  function outline(paint, mask, colour, filled) {
    const { width, height } = picture;
    paint.fillStyle = colour;
    paint.globalAlpha = 0.22;
    if (filled) for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) if (mask[y * width + x]) paint.fillRect(x * scale, y * scale, scale, scale);
    paint.globalAlpha = 1;
    paint.strokeStyle = colour;
    paint.lineWidth = 1.6;
    paint.beginPath();
    const at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : mask[y * width + x]);
    for (let y = 0; y <= height; y++) {
      for (let x = 0; x <= width; x++) {
        if (at(x, y) !== at(x, y - 1)) { paint.moveTo(x * scale, y * scale); paint.lineTo((x + 1) * scale, y * scale); }
        if (at(x, y) !== at(x - 1, y)) { paint.moveTo(x * scale, y * scale); paint.lineTo(x * scale, (y + 1) * scale); }
      }
    }
    paint.stroke();
  }
  function frame(paint, [x0, y0, x1, y1], colour, dashed) {
    paint.strokeStyle = colour;
    paint.lineWidth = 2;
    paint.setLineDash(dashed ? [6, 5] : []);
    paint.strokeRect(x0 * scale, y0 * scale, (x1 - x0 + 1) * scale, (y1 - y0 + 1) * scale);
    paint.setLineDash([]);
  }
  function draw() {
    if (!picture) return;
    const paint = $("canvas").getContext("2d");
    paint.imageSmoothingEnabled = true;
    paint.drawImage(picture.image, 0, 0, $("canvas").width, $("canvas").height);
    for (const name of ["prediction", "target", "candidate", "prompt"]) {
      if (!$(`show-${name}`).checked) continue;
      if (drawn[name]) outline(paint, drawn[name], colours[name], name === "prediction" || name === "prompt");
      if (name === "prediction") for (const each of drawn.boxes ?? []) frame(paint, each, colours.prediction, true);
      if (name === "prompt") {
        for (const each of boxes) frame(paint, each, colours.prompt, false);
        for (const [x, y, label] of points) {
          paint.beginPath();
          paint.arc((x + 0.5) * scale, (y + 0.5) * scale, 6, 0, 7);
          paint.fillStyle = label ? colours.prompt : "#000";
          paint.strokeStyle = label ? "#fff" : colours.prompt;
          paint.lineWidth = 2;
          paint.fill();
          paint.stroke();
        }
      }
    }
    $("canvas").setAttribute("aria-label", `image of ${shown}, DSC ${$("dsc").textContent}, confidence ${$("confidence").textContent}`);
  }

  // Boxes and points
  const mode = () => document.querySelector("input[name=mode]:checked").value;
  function fields() {
    $("box").value = boxes.map((each) => each.join(" ")).join("; ");
    $("points").value = points.map((each) => each.join(" ")).join("; ");
  }
  const numbers = (text) => text.split(";").map((each) => each.trim()).filter(Boolean).map((each) => each.split(/[\s,]+/).map(Number));
  let asking = false, again = false;
  async function ask() {
    if (asking) { again = true; return; }
    if (!boxes.length && !points.length) return;
    asking = true;
    const begun = performance.now(), id = shown;
    try {
      const told = await post("prompt", { case: id, boxes, points });
      if (id === shown && (boxes.length || points.length)) {
        drawn.prompt = unpacked(told.mask);
        const score = told.dsc === null ? "no target to compare with" : `DSC ${number(told.dsc)}`;
        $("prompted").textContent = `SAM's mask: ${score}, ${told.pixels.toLocaleString("en")} pixels, ${(performance.now() - begun).toFixed(0)} ms. A run chooses its boxes itself: this is to look, and is not saved.`;
        $("prompted").dataset.ms = String(performance.now() - begun);
      }
    } catch (error) {
      $("prompted").textContent = error.message;
    }
    asking = false;
    draw();
    if (again) { again = false; await ask(); }
  }
  function at(event) {
    const area = $("canvas").getBoundingClientRect();
    const inside = (value, most) => Math.max(0, Math.min(most - 1, Math.floor(value * most)));
    return [inside((event.clientX - area.left) / area.width, picture.width), inside((event.clientY - area.top) / area.height, picture.height)];
  }
  function pointer() {
    const canvas = $("canvas");
    canvas.onpointerdown = (event) => {
      if (mode() === "look" || !picture) return;
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      const [x, y] = at(event);
      if (mode() === "box") { drag = { x, y }; return; }
      points.push([x, y, Number(mode())]);
      fields();
      draw();
      ask();
    };
    canvas.onpointermove = (event) => {
      if (!drag) return;
      const [x, y] = at(event);
      boxes = [[Math.min(x, drag.x), Math.min(y, drag.y), Math.max(x, drag.x), Math.max(y, drag.y)]];
      fields();
      draw();
      if (boxes[0][2] - boxes[0][0] > 2 && boxes[0][3] - boxes[0][1] > 2) ask();
    };
    canvas.onpointerup = canvas.onpointercancel = () => { drag = null; };
    for (const each of document.querySelectorAll("input[name=mode]")) each.onchange = () => canvas.classList.toggle("draws", mode() !== "look");
    $("clear").onclick = () => { boxes = []; points = []; drawn.prompt = null; $("prompted").textContent = ""; fields(); draw(); };
    $("ask").onclick = () => { boxes = numbers($("box").value); points = numbers($("points").value); draw(); ask(); };
    for (const name of ["box", "points"]) $(name).onkeydown = (event) => { if (event.key === "Enter") $("ask").click(); };
  }

  // Many cases
  async function compare(mine = turn) {
    const first = at0, count = Math.max(1, Math.min(start.total, Math.floor(Number($("count").value)) || 50));
    const now = asked(state), then = before(), rows = new Map(), many = [];
    compared = { start: first, count };
    choices();
    $("table").hidden = false;
    const begun = performance.now();
    let drawnAt = begun;
    for (let i = 0; i < count; i += 500) {
      const part = await post("cases", { start: first + i, count: Math.min(500, count - i) });
      many.push(...part.map(([, id]) => id));
      for (const [place, id, group] of part) rows.set(id, { place: [place, id, group] });
      for (const each of await post("rankings", { cases: part.map(([, id]) => id), asked: now, before: then })) rows.get(each.id).rank = each;
      if (mine !== turn) return;
    }
    const took = performance.now() - begun;
    table(rows, took, 0);
    for (let i = 0; i < many.length; i += 5) {
      const part = many.slice(i, i + 5), last = i + 5 >= many.length;
      for (const [name, of] of [["now", now], ["old", then]]) {
        for (const each of await post("scores", { cases: part, asked: of })) rows.get(each.id)[name] = each;
        if (mine !== turn) return;
      }
      if (!last && many.length > LISTED && performance.now() - drawnAt < 1000) continue; // a long table costs more than its scores
      drawnAt = performance.now();
      table(rows, took, Math.min(i + 5, many.length));
    }
    $("table").dataset.settled = String(mine);
  }
  function table(rows, took, done) {
    const mean = (which, name) => {
      const found = [...rows.values()].filter((each) => typeof each.now?.[name] === "number" && typeof each.old?.[name] === "number").map((each) => each[which][name]);
      return { value: found.length ? found.reduce((sum, each) => sum + each, 0) / found.length : null, n: found.length };
    };
    const told = ["dsc", "confidence"].map((name) => {
      const now = mean("now", name), old = mean("old", name);
      return now.n ? `${name === "dsc" ? "DSC" : "confidence"} ${number(now.value)} (before ${number(old.value)}, n = ${now.n})` : "";
    }).filter(Boolean);
    const other = [...rows.values()].filter((each) => each.rank.same === false).length;
    $("average").textContent = [`${other} of ${rows.size} choices are others (${took.toFixed(0)} ms)`, ...told, done < rows.size ? `${done} of ${rows.size} scored` : "", rows.size > LISTED ? `the first ${LISTED} are listed` : ""].filter(Boolean).join("; ");
    $("average").dataset.ms = String(took);
    $("several").replaceChildren(...[...rows.entries()].slice(0, LISTED).map(([id, { place, rank, now, old }]) => {
      const row = element("tr"), name = element("td", "", "id"), button = element("button", id);
      button.type = "button";
      button.onclick = () => { tried(show(place)); $("case").focus(); };
      name.append(button);
      const by = typeof now?.dsc === "number" && typeof old?.dsc === "number" ? now.dsc - old.dsc : null;
      const kind = by === null || Math.abs(by) < 5e-4 ? "" : by > 0 ? "up" : "down";
      const moved = by === null ? "" : kind ? `${by > 0 ? "+" : "−"}${Math.abs(by).toFixed(3)}` : "±0";
      const choice = rank.error ?? now?.error ?? (rank.same ? "the same" : "another");
      row.append(name, element("td", now ? number(now.dsc) : "…", "num"), element("td", old ? number(old.dsc) : "…", "num"), element("td", moved, `num ${kind}`), element("td", now ? number(now.confidence) : "…", "num"), element("td", old ? number(old.confidence) : "…", "num"), element("td", choice, rank.error || now?.error ? "bad" : ""), element("td", rank.error ? "" : rank.old === null ? "new" : String(rank.old), "num"), element("td", now?.flag ?? ""));
      return row;
    }));
  }

  async function save() {
    const which = { all: {}, one: { some: true, start: at0, count: 1 }, compared: { some: true, ...compared } }[$("which").value];
    const told = await post("save", { asked: asked(state), ...which });
    $("command").textContent = told.command;
    $("folder").textContent = told.folder;
    $("textfile").textContent = `vdt.file=${told.text}`;
    $("saved").hidden = false;
    say("Saved.");
    $("command").focus();
  }

  function listing() {
    const chosen = $("before").selectedIndex;
    $("before").replaceChildren(...sets.map((each) => element("option", each.name)));
    $("before").selectedIndex = Math.max(0, chosen);
  }
  $("theme").hidden = false;
  $("theme").onclick = () => {
    const root = document.documentElement, dark = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    root.dataset.theme = dark === "dark" ? "light" : "dark";
  };
  build();
  listing();
  pointer();
  controls();
  choices();
  $("case").oninput = () => {
    clearTimeout(looking);
    looking = setTimeout(() => tried(offer($("case").value)), 150);
  };
  $("undo").onclick = () => move(past, future);
  $("redo").onclick = () => move(future, past);
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || /TEXTAREA|INPUT/.test(document.activeElement.tagName)) return;
    event.preventDefault();
    if (event.shiftKey) move(future, past); else move(past, future);
  });
  $("add").onclick = () => {
    changing();
    state.sentences.push({ text: "", on: true });
    controls();
    $("sentences").lastElementChild.querySelector("textarea").focus();
  };
  $("keep").onclick = () => { sets.push({ name: `set ${sets.length}`, state: structuredClone(state) }); listing(); $("before").selectedIndex = sets.length - 1; refresh(); };
  $("take").onclick = () => { changing(); state = structuredClone(sets[$("before").selectedIndex].state); controls(); refresh(); };
  $("before").onchange = refresh;
  $("save").onclick = () => tried(save());
  $("many").onclick = () => tried(compare());
  $("previous").onclick = () => tried(step(start.total - 1));
  $("next").onclick = () => tried(step(1));
  $("case").onchange = () => tried(named($("case").value));
  for (const each of document.querySelectorAll("#layers input")) each.onchange = draw;
  tried(show(start.first));
})();
