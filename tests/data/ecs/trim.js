// Writes fields-9.4.0.json: the field sets of the Elastic Common Schema that a finding could touch, as Elastic publishes
// them in the npm package @elastic/ecs (Apache-2.0). Run beside it:
//   npm pack @elastic/ecs@9.4.0 && tar xzf elastic-ecs-9.4.0.tgz && node trim.js > fields-9.4.0.json
const { EcsFlat } = require("./package/build/commonjs/index.js");

const SETS = ("@timestamp labels message tags cloud client destination ecs error event file host http log network " +
  "observer process related rule server source threat url user_agent").split(" ");
// Sets nested in others that have no place in a finding; they would be nine tenths of the file.
const NESTED = new RegExp("\\.(enrichments|indicator|elf|macho|pe|x509|parent|entry_leader|group_leader|session_leader|" +
  "previous|geo|as|user|entity|os|risk|origin|target|attested_\\w+|io|code_signature|tty|supplemental_groups|saved_\\w+|" +
  "real_\\w+|hash|interrupted|group)(\\.|$)");

const lines = Object.entries(EcsFlat)
  .filter(([name]) => SETS.includes(name.split(".")[0]) && !NESTED.test(name))
  .map(([name, field]) => {
    const kept = { type: field.type };
    if (field.normalize.includes("array")) kept.array = true;
    if (field.pattern) kept.pattern = field.pattern;
    if (field.ignore_above) kept.ignore_above = field.ignore_above;
    if (field.required) kept.required = true;
    if (field.allowed_values)
      kept.allowed = Object.fromEntries(field.allowed_values.map((one) => [one.name, one.expected_event_types || []]));
    return JSON.stringify(name) + ": " + JSON.stringify(kept);
  });
console.log('{\n"source": "Elastic Common Schema 9.4.0, from the npm package @elastic/ecs 9.4.0, trimmed by trim.js",');
console.log('"licence": "Apache-2.0, Copyright Elasticsearch B.V.",\n"version": "9.4.0",\n"fields": {\n' + lines.join(",\n") + "\n}\n}");
