// Evaluates flags of a Trueup server with OpenFeature's SDK for Node and its OFREP provider.
//
//   node evaluate.js http://127.0.0.1:8017 < questions
//
// A question is a line of JSON, {"flag": "orders", "context": {"targetingKey": "42"}}, and so is its
// answer, OpenFeature's evaluation details.
import { createInterface } from "node:readline";
import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OpenFeature } from "@openfeature/server-sdk";

await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: process.argv[2] }));
const client = OpenFeature.getClient();
for await (const line of createInterface({ input: process.stdin })) {
  const { flag, context } = JSON.parse(line);
  console.log(JSON.stringify(await client.getStringDetails(flag, "the caller's default", context)));
}
await OpenFeature.close();
