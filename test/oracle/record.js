'use strict';
/*
 * record.js - what Postman's engine sends for the collections of a folder, as golden files.
 *
 *   node record.js CASES GOLDEN
 *
 * For each CASES/NAME.json (and NAME.environment.json, if there is one) it writes GOLDEN/NAME.json:
 *   { variables: {name: value}, requests: [{ n, item, path, scheme, method, target, host, headers, body_b64 } | { n, ..., error }] }
 * variables are the values that were used for everything that the collection leaves open.
 */
const fs = require('fs');
const path = require('path');
const { execFileSync } = require('child_process');

const [cases, golden] = process.argv.slice(2);
const scratch = fs.mkdtempSync(path.join(require('os').tmpdir(), 'oracle-'));

fs.mkdirSync(golden, { recursive: true });
fs.readdirSync(cases).filter((f) => { return f.endsWith('.json') && !f.endsWith('.environment.json'); }).sort().forEach((f) => {
    const name = path.basename(f, '.json');
    const vars = path.join(scratch, name), environment = path.join(cases, name + '.environment.json');
    const args = [path.join(__dirname, 'oracle.js'), path.join(cases, f), '--fill', '--dump-vars', vars, '--timeout', '2000'];

    if (fs.existsSync(environment)) { args.push('--env', environment); }
    const lines = execFileSync('node', args, { encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'inherit'] });
    const seen = new Set();
    const requests = lines.split('\n').filter(Boolean).map(JSON.parse).filter((r) => {
        // What an item sent besides (a challenge, a broken connection) does not count.
        return !seen.has(r.n) && seen.add(r.n);
    }).map((r) => {

        delete r.body;
        // Texts of errors, and what a broken request looked like, are no business of ours.
        if (r.error) { r.error = 'nothing sent'; }
        if (r.malformed) { return { n: r.n, item: r.item, path: r.path, error: 'nothing sent' }; }
        // Signatures that hold the time are never the same twice.
        (r.headers || []).forEach((h) => {
            if (/^(x-amz-date|authorization)$/i.test(h[0]) && /^(AWS4|Hawk|\d{8}T)/.test(h[1])) { h[1] = 'computed'; }
        });

        return r;
    });

    fs.writeFileSync(path.join(golden, name + '.json'), JSON.stringify({
        variables: JSON.parse(fs.readFileSync(vars, 'utf8')), requests: requests
    }, null, 1) + '\n');
});
fs.rmSync(scratch, { recursive: true });
