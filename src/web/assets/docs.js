"use strict";

// The bundle carries a dark theme but leaves the choice to its top bar, which we do not use.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  // Its default sends the document's address to a validator on another host.
  validatorUrl: null,
  oauth2RedirectUrl: new URL("/docs/assets/oauth2-redirect.html", location.href).href,
});
window.ui.initOAuth({ clientId: "docs", usePkceWithAuthorizationCodeGrant: true });
