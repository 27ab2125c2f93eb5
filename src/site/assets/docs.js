"use strict";

// The bundle carries a dark theme but leaves the choice to its top bar, which we do not use.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

// The dialog would list the ways to log in by the alphabet, and offer this page's own client and scopes for each.
const order = ["password", "oauth", "bearer", "machine", "client"];
// Of all fields that want the focus the last would get it, far below.
const begin = () => {
  document.querySelector(".modal-ux input")?.focus();
  document.querySelector(".modal-ux-content")?.scrollTo(0, 0);
};
// What the bundle leaves without a name, out of reach of the keyboard, or under a heading of the wrong level.
const names = {
  "#servers": "Server",
  ".operation-filter-input": "Filter by tag",
  ".examples-select-element": "Example",
  ".body-param__text": "Request body",
  ".parameters-col_description select": "Value",
  ".parameters-col_description input": "Value",
};
const regions = { ".information-container": "About", ".filter-container": "Filter", ".scheme-container": "Server and log-in" };
const levels = { "h3.opblock-tag": "2", h4: "3", h5: "4" };
const mend = () => {
  const set = (css, attribute, value) => {
    for (const element of document.querySelectorAll(`.swagger-ui ${css}:not([${attribute}])`)) {
      element.setAttribute(attribute, typeof value === "function" ? value(element) : value);
    }
  };
  for (const [css, name] of Object.entries({ ...names, ...regions })) set(css, "aria-label", name);
  for (const css of Object.keys(regions)) set(css, "role", "region");
  for (const [css, level] of Object.entries(levels)) set(css, "aria-level", level);
  set(".responses-table", "aria-label", (table) => `Responses, ${table.id}`);
  set(".microlight", "tabindex", "0");
};
new MutationObserver(mend).observe(document.getElementById("swagger-ui"), { childList: true, subtree: true });

const dialog = () => ({
  statePlugins: {
    auth: {
      wrapActions: {
        showDefinitions: (show) => (ways) => {
          setTimeout(begin);
          return show(ways && ways.sortBy((way) => order.indexOf(way.keySeq().first())));
        },
      },
    },
  },
  wrapComponents: {
    // A link inside of a button is nothing that one can press. The button itself changes the address.
    DeepLink: (_, { React }) => ({ text }) => React.createElement("span", null, text),
    oauth2: (Way, { React }) => (props) => {
      const none = { authSelectors: { ...props.authSelectors, getConfigs: () => ({}) } };
      return React.createElement(Way, props.name === "machine" ? { ...props, ...none } : props);
    },
  },
});

window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  plugins: [dialog],
  layout: "BaseLayout",
  deepLinking: true,
  filter: true,
  displayRequestDuration: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  // Its default sends the document's address to a validator on another host.
  validatorUrl: null,
  oauth2RedirectUrl: new URL("/docs/assets/oauth2-redirect.html", location.href).href,
});
window.ui.initOAuth({
  clientId: "docs",
  // What most calls need. Whoever wants to try more ticks it.
  scopes: ["openid", "email", "profile", "codes:read", "codes:write", "referrals:read"],
  usePkceWithAuthorizationCodeGrant: true,
});
