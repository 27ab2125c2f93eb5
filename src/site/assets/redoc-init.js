"use strict";

const sans = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';
const mono = 'ui-monospace, "Cascadia Code", Menlo, Consolas, "DejaVu Sans Mono", monospace';
// The defaults name fonts that are fetched from elsewhere.
const typography = { fontFamily: sans, headings: { fontFamily: sans }, code: { fontFamily: mono } };
const light = {
  colors: { primary: { main: "#2148c7" }, text: { primary: "#1c2330", secondary: "#566074" } },
  schema: { typeNameColor: "#566074", typeTitleColor: "#566074", requireLabelColor: "#b3261e" },
  typography: { ...typography, code: { ...typography.code, color: "#a3231b" } },
};
// ReDoc computes with its colours, so they cannot be variables of the style sheet: these are those of page.css by night.
const night = {
  colors: {
    primary: { main: "#8fb0ff", light: "#1c222c" },
    success: { main: "#7fd6a2" },
    warning: { main: "#f2bd5c" },
    error: { main: "#ff9d94" },
    gray: { 50: "#1c222c", 100: "#2d3542" },
    text: { primary: "#e6e9ef", secondary: "#a3adbd" },
    border: { dark: "#2d3542", light: "#1c222c" },
    responses: {
      success: { color: "#7fd6a2", backgroundColor: "#15251c" },
      error: { color: "#ff9d94", backgroundColor: "#2c1b1c" },
      redirect: { color: "#f2bd5c", backgroundColor: "#2a2314" },
      info: { color: "#8fb0ff", backgroundColor: "#1a2236" },
    },
  },
  schema: {
    linesColor: "#566074",
    typeNameColor: "#a3adbd",
    typeTitleColor: "#a3adbd",
    requireLabelColor: "#ff9d94",
    nestedBackground: "#1c222c",
    arrow: { color: "#a3adbd" },
  },
  typography: {
    ...typography,
    code: { ...typography.code, color: "#ffb4ac", backgroundColor: "#1c222c" },
    links: { color: "#8fb0ff", visited: "#8fb0ff", hover: "#adc5ff" },
  },
  sidebar: { backgroundColor: "#1c222c", textColor: "#e6e9ef", activeTextColor: "#8fb0ff", arrow: { color: "#a3adbd" } },
  rightPanel: { backgroundColor: "#0c0f14" },
  codeBlock: { backgroundColor: "#14181f" },
  fab: { backgroundColor: "#2d3542", color: "#8fb0ff" },
};

const page = document.getElementById("redoc");
const dark = matchMedia("(prefers-color-scheme: dark)");
const draw = () => {
  // A theme is for good, so another one begins anew.
  const place = document.createElement("div");
  page.replaceChildren(place);
  const options = {
    // Search runs in a worker made from a blob: URL, which the page's policy refuses.
    disableSearch: true,
    nativeScrollbars: true,
    theme: dark.matches ? night : light,
  };
  Redoc.init("/openapi.json", options, place);
};
// The bundle's small headings skip levels, for those who hear the page.
const mend = () => {
  for (const heading of page.querySelectorAll("h5:not([aria-level])")) heading.setAttribute("aria-level", "3");
};
new MutationObserver(mend).observe(page, { childList: true, subtree: true });
dark.addEventListener("change", draw);
draw();
