// The page's reducer over the recorded traces: node --test tests/client/reducer.test.js

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { doStep } from "./replay.js";
import { Conversation } from "../../entrypoints/page/reducer.js";

const folder = new URL("./traces/", import.meta.url);

for (const name of readdirSync(folder).filter((name) => name.endsWith(".json"))) {
  const trace = JSON.parse(readFileSync(new URL(name, folder), "utf8"));
  test(`${name}: ${trace.law}`, () => {
    const conversation = new Conversation(trace.start);
    trace.steps.forEach((step, index) => {
      doStep(conversation, step);
      const view = JSON.parse(JSON.stringify(conversation.view()));
      for (const [key, wanted] of Object.entries(step.expect ?? {})) {
        const where = `step ${index + 1}, ${key}`;
        if (key !== "turns") {
          assert.deepEqual(view[key], wanted, where);
          continue;
        }
        assert.deepEqual(view.turns.map((turn) => turn.requestId), wanted.map((turn) => turn.requestId), where);
        wanted.forEach((part, place) => {
          for (const [field, value] of Object.entries(part)) {
            assert.deepEqual(view.turns[place][field], value, `${where}, ${part.requestId}.${field}`);
          }
        });
      }
    });
  });
}
