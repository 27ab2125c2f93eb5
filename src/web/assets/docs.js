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
