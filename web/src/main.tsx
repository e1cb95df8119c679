/** Opens the site beside the page and draws the page that the address names. */

import { render } from "preact";

import { App } from "./app/app.tsx";
import { openSite } from "./data/site.ts";
import "./style/tokens.css";
import "./style/base.css";
import "./style/frame.css";
import "./style/parts.css";

const root = document.getElementById("app");
if (root !== null) render(<App site={openSite()} />, root);
