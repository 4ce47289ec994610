// A person with a browser, who logs in wherever a page asks for that: `node person.mjs URL [NAME]`.
//
// It follows redirects, keeps cookies, and sends each form that a page holds as that page wants it: with its hidden
// fields, the name (`ann` unless another is said), any password, and the code of a device that stands there already. It
// ends with the first page without a form.

const [, , first, name = 'ann'] = process.argv;
const cookies = new Map();
const MAX_PAGES = 20;

function attribute(tag, wanted) {
    const found = new RegExp(`\\b${wanted}="([^"]*)"`).exec(tag)?.[1];
    return found?.replaceAll('&amp;', '&');
}

// What a person sends with a form.
function filled(form) {
    const fields = new URLSearchParams();
    for (const [tag] of form.matchAll(/<input[^>]*>/g)) {
        const field = attribute(tag, 'name');
        const value = { login: name, password: 'any' }[field] ?? attribute(tag, 'value');
        if (field && value !== undefined) {
            fields.append(field, value);
        }
    }
    return fields;
}

async function visit(url, body) {
    const cookie = [...cookies].map(([key, value]) => `${key}=${value}`).join('; ');
    const answer = await fetch(url, {
        method: body ? 'POST' : 'GET', body, redirect: 'manual', headers: cookie ? { cookie } : {},
    });
    for (const line of answer.headers.getSetCookie()) {
        const [, key, value] = /^([^=]+)=([^;]*)/.exec(line);
        cookies.set(key, value);
    }
    return answer;
}

let [url, body] = [first];
for (let pages = 0; pages < MAX_PAGES; pages += 1) {
    const answer = await visit(url, body);
    const next = answer.headers.get('location');
    if (next) {
        [url, body] = [new URL(next, url).href, undefined];
        continue;
    }
    const page = await answer.text();
    const form = /<form[^>]*method="post"[^>]*>.*?<\/form>/s.exec(page)?.[0];
    if (!form) {
        console.log(answer.status, page.replace(/<style.*?<\/style>/gs, '').replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ').trim());
        process.exit(answer.ok ? 0 : 1);
    }
    [url, body] = [new URL(attribute(form, 'action') ?? url, url).href, filled(form)];
}
console.error(`no end after ${MAX_PAGES} pages`);
process.exit(1);
