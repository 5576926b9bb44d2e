// The page begins here.

import { Api } from "./model/api.js";
import { PageModel } from "./model/page_model.js";
import { browserStorage } from "./model/storage.js";
import { App } from "./view/app.js";
import { html, render } from "./view/ui.js";

let app = null;
let drawing = false;

// Many frames in one moment are drawn once; a hidden page has no animation frames, and is drawn all the same.
function changed() {
  if (drawing || !app) return;
  drawing = true;
  const draw = () => {
    drawing = false;
    app.forceUpdate();
  };
  if (document.hidden) setTimeout(draw, 100);
  else requestAnimationFrame(draw);
}

const api = new Api(new URL(".", location.href), new URLSearchParams(location.search).get("userId"));
const model = new PageModel(api, browserStorage(), changed);
model.start();
render(
  html`<${App} model=${model} ref=${(made) => {
    app = made;
  }} />`,
  document.getElementById("app"),
);
