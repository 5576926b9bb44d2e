// One step of a trace, done to the page's reducer. Run as a program: traces on standard input, one a line; after
// each step of each, its view on standard output.

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

import { Conversation } from "../../entrypoints/page/reducer.js";

export function doStep(conversation, step) {
  if ("frame" in step) conversation.apply(step.frame);
  else if ("send" in step) conversation.send(...step.send);
  else if ("discard" in step) conversation.discard(step.discard);
  else if ("respond" in step) conversation.respond(...step.respond);
  else if ("cancel" in step) conversation.cancel(step.cancel);
  else if ("history" in step) conversation.history(step.history);
  else if ("connected" in step) conversation.connected();
  else throw new Error(`no such step: ${JSON.stringify(step)}`);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { start, steps } = JSON.parse(line);
    const conversation = new Conversation(start);
    const views = steps.map((step) => {
      doStep(conversation, step);
      return structuredClone(conversation.view());
    });
    process.stdout.write(`${JSON.stringify(views)}\n`);
  }
}
