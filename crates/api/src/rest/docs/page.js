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

// The least that fits a schema: what is required of it.
function sample(all, schema) {
  if (!schema || schema === true) return {};
  if (schema.$ref) return sample(all, all.components.schemas[schema.$ref.split("/").pop()]);
  if ("const" in schema || schema.enum) return schema.const ?? schema.enum[0];
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (type === "array") return [];
  if (type === "integer" || type === "number") return schema.minimum || 0;
  if (type === "boolean") return false;
  if (type === "string") return schema.format === "date-time" ? new Date(Date.now() + 3600000).toISOString() : "";
  const required = (schema.required || []).filter((name) => schema.properties?.[name]);
  return Object.fromEntries(required.map((name) => [name, sample(all, schema.properties[name])]));
}

// What a change repeats, where one is signed in by a cookie.
async function csrf() {
  const answer = await fetch("/api/v1/session");
  return answer.ok ? (await answer.json()).csrf : undefined;
}

// Where a request goes, with the parameters that were filled in.
function address(path, fields) {
  let place = `/api/v1${path}`;
  const query = new URLSearchParams();
  for (const { parameter, input } of fields) {
    if (parameter.in === "path") place = place.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    if (parameter.in === "query" && input.value) {
      const several = parameter.schema?.type === "array";
      for (const value of several ? input.value.split(",") : [input.value]) query.append(parameter.name, value);
    }
  }
  const text = query.toString();
  return text ? `${place}?${text}` : place;
}

async function headers(method, fields, media) {
  const sent = {};
  for (const { parameter, input } of fields) if (parameter.in === "header" && input.value) sent[parameter.name] = input.value;
  if (media) sent["Content-Type"] = media;
  const token = document.getElementById("token").value.trim();
  if (token) sent.Authorization = `Bearer ${token}`;
  else if (method !== "GET") sent["X-CSRF-Token"] = (await csrf()) || "";
  return { headers: sent, credentials: token ? "omit" : "same-origin" };
}

const MOST = 100000; // Letters of an answer that are shown.
const STREAM = 10000; // Milliseconds for which one that does not end is listened to.

async function text(answer, stop) {
  const reader = answer.body?.getReader();
  if (!reader) return "";
  const decoder = new TextDecoder();
  const timer = setTimeout(stop, STREAM);
  let read = "";
  try {
    while (read.length < MOST) {
      const { done, value } = await reader.read();
      if (done) break;
      read += decoder.decode(value, { stream: true });
    }
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  } finally {
    clearTimeout(timer);
    stop();
  }
  return read.length > MOST ? `${read.slice(0, MOST)}\n…` : read;
}

async function send(method, path, fields, body, media, place) {
  place.textContent = "One moment.";
  const stopping = new AbortController();
  try {
    const how = await headers(method, fields, media);
    const answer = await fetch(address(path, fields), { method, body: body || undefined, signal: stopping.signal, redirect: "manual", ...how });
    const read = await text(answer, () => stopping.abort());
    const head = ["content-type", "etag", "location", "retry-after"].filter((name) => answer.headers.get(name));
    const said = head.map((name) => `${name}: ${answer.headers.get(name)}`);
    let shown = read;
    try { shown = JSON.stringify(JSON.parse(read), null, 2); } catch { /* It is no JSON. */ }
    place.textContent = [answer.type === "opaqueredirect" ? "302, to another place" : answer.status, ...said, "", shown].join("\n");
  } catch (error) {
    place.textContent = `It could not be sent: ${error.message}`;
  }
}

// What it takes to try a route out; nothing is sent before somebody presses the button.
function tryout(all, method, path, operation) {
  const fields = operation.parameters.map((parameter) => {
    const input = element("input", "");
    input.name = parameter.name;
    if (parameter.in === "path" && parameter.name === "namespace") input.value = "default";
    return { parameter, input };
  });
  const rows = fields.map(({ parameter, input }) =>
    element("tr", "", element("td", "", element("code", parameter.name)), element("td", parameter.in), element("td", "", input), element("td", parameter.description || "")));
  const [media, content] = Object.entries(operation.requestBody?.content || {})[0] || [];
  const body = element("textarea", "");
  if (content) body.value = JSON.stringify(sample(all, content.schema), null, 2);
  const button = element("button", `Send ${method.toUpperCase()}`);
  const answer = element("pre", "");
  answer.className = "answer";
  answer.setAttribute("aria-live", "polite");
  answer.hidden = true;
  button.type = "button";
  button.addEventListener("click", () => {
    answer.hidden = false;
    send(method.toUpperCase(), path, fields, content && body.value, content && media, answer);
  });
  return element("div", "", ...(rows.length ? [element("table", "", ...rows)] : []), ...(content ? [element("p", media), body] : []), button, answer);
}

function route(all, method, path, operation) {
  const head = element("summary", "", element("b", method.toUpperCase()), element("code", path), ` ${operation.summary || ""}`);
  const shown = element("details", "", head, element("p", `Asks of the caller: ${operation["x-access"]}`));
  shown.dataset.text = `${method} ${path} ${operation.summary || ""}`.toLowerCase();
  shown.addEventListener("toggle", () => {
    if (!shown.open || shown.querySelector("pre")) return;
    shown.append(tryout(all, method, path, operation));
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
