// Shows openapi.json. Everything goes in as text, never as markup.
"use strict";

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

// A schema with what it refers to, a few levels deep.
function resolved(all, schema, depth) {
  if (Array.isArray(schema)) return schema.map((item) => resolved(all, item, depth));
  if (schema === null || typeof schema !== "object") return schema;
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    const found = all.components.schemas[name];
    return found && depth > 0 ? resolved(all, found, depth - 1) : name;
  }
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, resolved(all, value, depth)]));
}

function route(all, method, path, operation) {
  const head = element("summary", "", element("b", method.toUpperCase()), element("code", path), ` ${operation.summary || ""}`);
  const shown = element("details", "", head, element("p", `Asks of the caller: ${operation["x-access"]}`));
  shown.dataset.text = `${method} ${path} ${operation.summary || ""}`.toLowerCase();
  if (operation.parameters.length) {
    const rows = operation.parameters.map((one) =>
      element("tr", "", element("td", "", element("code", one.name)), element("td", one.in), element("td", one.description || "")));
    shown.append(element("table", "", ...rows));
  }
  shown.addEventListener("toggle", () => {
    if (!shown.open || shown.querySelector("pre")) return;
    for (const [status, answer] of Object.entries(operation.responses)) {
      const there = answer.$ref ? all.components.responses[answer.$ref.split("/").pop()] : answer;
      shown.append(element("p", `${status}: ${there.description}`));
      const content = Object.values(there.content || {})[0];
      if (status.startsWith("2") && content) shown.append(element("pre", JSON.stringify(resolved(all, content.schema, 3), null, 2)));
    }
  });
  return shown;
}

async function start() {
  const place = document.getElementById("routes");
  const answer = await fetch("/api/v1/openapi.json");
  if (!answer.ok) {
    place.textContent = `The description can't be read (${answer.status}): sign in first.`;
    return;
  }
  const all = await answer.json();
  document.getElementById("about").textContent = all.info.description;
  const groups = new Map();
  for (const [path, methods] of Object.entries(all.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const group = operation.tags[0];
      if (!groups.has(group)) groups.set(group, element("section", "", element("h2", group)));
      groups.get(group).append(route(all, method, path, operation));
    }
  }
  place.replaceChildren(...groups.values());
  document.getElementById("find").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase();
    for (const one of place.querySelectorAll("details")) one.hidden = !one.dataset.text.includes(wanted);
    for (const group of groups.values()) group.hidden = !group.querySelector("details:not([hidden])");
  });
}

start();
