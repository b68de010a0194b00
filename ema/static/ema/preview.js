"use strict";
/* The preview of a questionnaire: shows its items as a phone would, and what would be sent. */
(() => {
  const content = JSON.parse(document.getElementById("questionnaire").textContent);
  const languages = content.languages ?? [...new Set(content.items.flatMap((i) => Object.keys(i.label)))];
  const form = document.getElementById("items");
  const chosen = document.getElementById("language");
  const answers = Object.create(null);
  const skipped = Object.create(null);
  let fieldsets = {};

  function text(texts) {
    if (typeof texts === "string") return texts; // of versions before there were languages
    return texts?.[chosen.value] ?? texts?.[languages[0]] ?? Object.values(texts ?? {})[0] ?? "";
  }

  function make(name, attributes, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes ?? {})) {
      if (value === undefined || value === null || value === false) continue;
      element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null && child !== ""));
    return element;
  }

  function answer(item, value) {
    if (value === null) delete answers[item.key];
    else answers[item.key] = value;
    if (value !== null && skipped[item.key] !== undefined) {
      delete skipped[item.key];
      const select = document.getElementById(`${item.key}-skip`);
      if (select) select.value = "";
    }
    update();
  }

  function choice(item, type, value, label, isChecked, onChange) {
    const input = make("input", { type, name: item.key, checked: isChecked });
    input.addEventListener("change", () => onChange(input));
    input.dataset.value = JSON.stringify(value);
    return make("label", { class: "choice" }, input, label || String(value));
  }

  function choices(item, options, kind = "") {
    const radios = options.map(({ value, label }) =>
      choice(item, "radio", value, label, answers[item.key] === value, () => answer(item, value)));
    return make("div", { class: kind }, ...radios);
  }

  function several(item) {
    const boxes = item.options.map((option) =>
      choice(item, "checkbox", option.value, text(option.label),
        (answers[item.key] ?? []).includes(option.value), (box) => pick(item, option, box.checked)));
    return make("div", {}, ...boxes);
  }

  function pick(item, option, isPicked) {
    let values = (answers[item.key] ?? []).filter((value) => value !== option.value);
    if (isPicked) {
      const alone = item.options.filter((each) => each.exclusive).map((each) => each.value);
      values = option.exclusive ? [] : values.filter((value) => !alone.includes(value));
      values.push(option.value);
    }
    const ordered = item.options.map((each) => each.value).filter((value) => values.includes(value));
    answer(item, ordered.length ? ordered : null);
    for (const box of fieldsets[item.key].querySelectorAll("input[type=checkbox]")) {
      box.checked = ordered.includes(JSON.parse(box.dataset.value));
    }
  }

  function ends(item) {
    if (!text(item.low_label) && !text(item.high_label)) return "";
    return make("div", { class: "ends" }, make("span", {}, text(item.low_label)),
      make("span", {}, text(item.high_label)));
  }

  function slider(item) {
    const step = 10 ** -(item.decimals ?? 0);
    const value = answers[item.key];
    const input = make("input", {
      type: "range", min: item.minimum, max: item.maximum, step, "aria-label": text(item.label),
      value: value ?? (item.minimum + item.maximum) / 2, class: value === undefined ? "untouched" : "",
      "aria-valuetext": value === undefined ? "no answer yet" : undefined,
    });
    const output = make("output", {}, value === undefined ? "–" : String(value));
    const touch = () => {
      input.classList.remove("untouched");
      input.removeAttribute("aria-valuetext");
      output.textContent = input.value;
      answer(item, Number(input.value));
    };
    for (const happening of ["input", "pointerup"]) input.addEventListener(happening, touch);
    return make("div", {}, input, ends(item), output);
  }

  function typed(item, attributes, read) {
    const input = make("input", { "aria-label": text(item.label), ...attributes });
    if (answers[item.key] !== undefined) input.value = answers[item.key];
    input.addEventListener("input", () => {
      const isGood = input.value !== "" && input.checkValidity();
      answer(item, isGood ? read(input.value) : null);
    });
    return make("div", {}, input, item.unit ? ` ${text(item.unit)}` : "");
  }

  function written(item) {
    const area = make("textarea", {
      rows: 3, maxlength: item.max_length, "aria-label": text(item.label),
    });
    area.value = answers[item.key] ?? "";
    area.addEventListener("input", () => answer(item, area.value || null));
    return area;
  }

  function points(item) {
    const labels = new Map(item.options.map((each) => [each.value, text(each.label)]));
    const options = [];
    for (let point = item.minimum; point <= item.maximum; point++) {
      const label = labels.get(point);
      options.push({ value: point, label: label ? `${point} ${label}` : String(point) });
    }
    return make("div", {}, choices(item, options, "points"), ends(item));
  }

  const YES_NO = { de: ["Ja", "Nein"], es: ["Sí", "No"], fr: ["Oui", "Non"], nl: ["Ja", "Nee"] };

  function yesNo(item) {
    const [yes, no] = YES_NO[chosen.value.split("-")[0]] ?? ["Yes", "No"];
    return choices(item, [{ value: true, label: yes }, { value: false, label: no }]);
  }

  const CONTROLS = {
    slider,
    rating: points,
    single: (item) => choices(item, item.options.map((o) => ({ value: o.value, label: text(o.label) }))),
    multiple: several,
    yes_no: yesNo,
    number: (item) => typed(item, {
      type: "number", min: item.minimum, max: item.maximum, step: 10 ** -(item.decimals ?? 0),
    }, Number),
    time: (item) => typed(item, { type: "time" }, (value) => value.slice(0, 5)),
    text: written,
  };

  function skip(item) {
    const codes = item.skip_reasons ?? [];
    if (!codes.length) return "";
    const labels = new Map(content.skip_reasons.map((each) => [each.value, text(each.label)]));
    const select = make("select", { id: `${item.key}-skip`, "aria-label": `Skip: ${text(item.label)}` },
      make("option", { value: "" }, "Skip …"),
      ...codes.map((code) => make("option", { value: JSON.stringify(code) }, labels.get(code) ?? code)));
    if (skipped[item.key] !== undefined) select.value = JSON.stringify(skipped[item.key]);
    select.addEventListener("change", () => {
      if (select.value) skipped[item.key] = JSON.parse(select.value);
      else delete skipped[item.key];
      if (select.value) {
        delete answers[item.key];
        const fresh = fieldset(item);
        fieldsets[item.key].replaceWith(fresh);
        fieldsets[item.key] = fresh;
        document.getElementById(`${item.key}-skip`).focus();
      }
      update();
    });
    return make("p", { class: "skip" }, select);
  }

  function fieldset(item) {
    const recall = text(item.recall);
    const help = text(item.help);
    const legend = make("legend", {}, text(item.label), item.required ? "" : " (optional)",
      recall ? make("span", { class: "recall" }, ` ${recall}`) : "");
    const id = `${item.key}-help`;
    return make("fieldset", { id: `item-${item.key}`, "aria-describedby": help ? id : undefined },
      legend, help ? make("p", { class: "help", id }, help) : "", CONTROLS[item.kind](item), skip(item));
  }

  function update() {
    const shown = fourbeatBranching.shown(content.items, answers);
    const sent = [];
    let missing = 0;
    for (const item of content.items) {
      const isShown = shown.includes(item.key);
      fieldsets[item.key].hidden = !isShown;
      if (!isShown) continue;
      if (answers[item.key] !== undefined) sent.push({ item: item.key, value: answers[item.key] });
      else if (skipped[item.key] !== undefined) {
        sent.push({ item: item.key, value: null, skip: String(skipped[item.key]) });
      } else if (item.required) missing += 1;
    }
    document.getElementById("answers").textContent = JSON.stringify(sent, null, 2);
    document.getElementById("progress").textContent = missing
      ? `${missing} required ${missing === 1 ? "item" : "items"} to go.` : "Complete.";
  }

  function build() {
    document.getElementById("preview-title").textContent = text(content.title ?? {});
    form.lang = chosen.value;
    fieldsets = Object.fromEntries(content.items.map((item) => [item.key, fieldset(item)]));
    form.replaceChildren(...Object.values(fieldsets));
    update();
  }

  for (const language of languages) chosen.append(make("option", { value: language }, language));
  chosen.addEventListener("change", build);
  form.addEventListener("submit", (event) => event.preventDefault());
  build();
})();
