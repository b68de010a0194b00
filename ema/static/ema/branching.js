"use strict";
/* Whether an item is shown: the grammar of ema/branching.py (docs/questionnaires.md), in JavaScript.
 *
 * A script of a page (window.fourbeatBranching) and a CommonJS module; both answer alike on
 * docs/questionnaires/branching.json.
 */
(() => {
  const DEEPEST = 8;
  const MOST = 50;
  const COMPARE = {
    at_least: (value, wanted) => value >= wanted,
    at_most: (value, wanted) => value <= wanted,
    above: (value, wanted) => value > wanted,
    below: (value, wanted) => value < wanted,
  };
  const isNumber = (value) => typeof value === "number";
  const isObject = (value) =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  const isMissing = (value) => value === null || value === undefined;
  const own = (object, key) => (Object.hasOwn(object, key) ? object[key] : undefined);

  function isTerm(term, names) {
    const [operator, ...more] = names.filter((name) => name !== "item");
    if (typeof own(term, "item") !== "string" || operator === undefined || more.length) return false;
    const wanted = term[operator];
    if (Object.hasOwn(COMPARE, operator)) return isNumber(wanted);
    if (operator === "answered") return typeof wanted === "boolean";
    return ["is", "includes"].includes(operator) && ["boolean", "number", "string"].includes(typeof wanted);
  }

  function isPart(condition, depth, count) {
    count.parts += 1;
    if (depth > DEEPEST || count.parts > MOST || !isObject(condition)) return false;
    const names = Object.keys(condition);
    if (names.length === 1 && ["all", "any"].includes(names[0])) {
      const parts = condition[names[0]];
      if (!Array.isArray(parts) || !parts.length) return false;
      return parts.every((part) => isPart(part, depth + 1, count));
    }
    if (names.length === 1 && names[0] === "not") return isPart(condition.not, depth + 1, count);
    return isTerm(condition, names);
  }

  function isReadable(condition) {
    const isEmpty = isObject(condition) && !Object.keys(condition).length;
    return isEmpty || isPart(condition, 1, { parts: 0 });
  }

  function holds(condition, answers) {
    if (condition.all) return condition.all.every((part) => holds(part, answers));
    if (condition.any) return condition.any.some((part) => holds(part, answers));
    if (condition.not) return !holds(condition.not, answers);
    const operator = Object.keys(condition).find((name) => name !== "item");
    if (operator === undefined) return true;
    const value = own(answers, condition.item);
    const wanted = condition[operator];
    if (operator === "answered") return !isMissing(value) === wanted;
    if (operator === "is") return value === wanted;
    if (operator === "includes") return Array.isArray(value) && value.includes(wanted);
    return isNumber(value) && COMPARE[operator](value, wanted);
  }

  function shown(items, answers) {
    const known = Object.create(null);
    const keys = [];
    for (const item of items) {
      const condition = item.show_if ?? {};
      if (isReadable(condition) && !holds(condition, known)) continue;
      keys.push(item.key);
      const value = own(answers, item.key);
      if (!isMissing(value)) known[item.key] = value;
    }
    return keys;
  }

  const branching = { shown, holds, isReadable };
  if (typeof module === "object" && module.exports) module.exports = branching;
  else globalThis.fourbeatBranching = branching;
})();
