// Sends one file with progress. XMLHttpRequest, because fetch does not report how much was sent.

import { Problem } from "./api.js";

/** Resolves to `{file, existed}`; `existed` when the server had the same bytes already. */
export async function upload(api, blob, onProgress, signal) {
  const token = await api.token();
  const first = await attempt(token, blob, onProgress, signal);
  if (first.status !== 401) return result(first);
  return result(await attempt(await api.renew(token), blob, onProgress, signal));
}

function attempt(token, blob, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open("POST", "/v1/files");
    xhr.setRequestHeader("authorization", `Bearer ${token}`);
    xhr.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    });
    xhr.addEventListener("load", () => resolve(xhr));
    xhr.addEventListener("error", () => reject(new Problem({ code: "unreachable", detail: "The upload was cut off. The connection was lost, or the file is too large." })));
    xhr.addEventListener("abort", () => reject(new DOMException("cancelled", "AbortError")));
    signal.addEventListener("abort", () => xhr.abort(), { once: true });
    const form = new FormData();
    form.append("file", blob, blob.name);
    xhr.send(form);
  });
}

async function result(xhr) {
  const headers = new Headers();
  const wait = xhr.getResponseHeader("retry-after");
  if (wait) headers.set("retry-after", wait);
  const response = new Response(xhr.responseText, { status: xhr.status || 500, headers });
  if (!response.ok) throw await Problem.of(response);
  return { file: await response.json(), existed: xhr.status === 200 };
}
