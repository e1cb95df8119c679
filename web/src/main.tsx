/** Opens the site beside the page and draws the page that the address names. */

import { render } from "preact";

import { fixture } from "../test/fixture.ts";
import { App } from "./app/app.tsx";
import "./style/tokens.css";
import "./style/base.css";
import "./style/frame.css";
import "./style/parts.css";

const root = document.getElementById("app");
if (root !== null) render(<App site={fixture()} />, root);
