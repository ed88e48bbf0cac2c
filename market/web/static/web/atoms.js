// What a script adds to pages that work without one: the phone's position on a tap, a smaller photo, and fewer reloads.
const MOST_BYTES = 500_000, LONG_SIDE = 1600;
let taken = null; // { file, original, at, where } between the shutter and the answer.

const find = (selector, root = document) => root.querySelector(selector);

function locate(options) {
  return new Promise((found, failed) => {
    if (!navigator.geolocation) return failed(new Error("This phone tells pages no position."));
    navigator.geolocation.getCurrentPosition((p) => found(p.coords), failed, options);
  });
}

function metres(latitude, longitude, toLatitude, toLongitude) {
  const rad = Math.PI / 180;
  const a = Math.sin((toLatitude - latitude) * rad / 2) ** 2
    + Math.cos(latitude * rad) * Math.cos(toLatitude * rad) * Math.sin((toLongitude - longitude) * rad / 2) ** 2;
  return 2 * 6371008.8 * Math.asin(Math.min(1, Math.sqrt(a)));
}

// ---- Times in the phone's own clock
function writeTimes(root) {
  const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  for (const time of root.querySelectorAll("time")) {
    const moment = new Date(time.dateTime), minutes = (moment - Date.now()) / 60_000;
    if ("at" in time.dataset) time.textContent = clock.format(moment);
    else if (minutes <= 0) time.textContent = "over";
    else if (minutes < 90) time.textContent = `in ${Math.max(1, Math.round(minutes))} min`;
    else time.textContent = minutes < 2880 ? `in ${Math.round(minutes / 60)} h` : `in ${Math.round(minutes / 1440)} days`;
  }
}

// ---- Another page's content in this page, so that a photo in hand is not lost
function swap(html, address) {
  const page = new DOMParser().parseFromString(html, "text/html");
  if (!find("main", page)) return false;
  // The same page: its photo's new address would load it again.
  const photos = "main img[src^='/photos/']", shown = document.querySelectorAll(photos);
  const again = address ? [] : [...page.querySelectorAll(photos)].slice(0, shown.length);
  again.forEach((image) => image.removeAttribute("src"));
  for (const part of ["main", "footer"]) find(part).replaceWith(find(part, page));
  again.forEach((image, i) => image.replaceWith(shown[i]));
  document.title = page.title;
  if (address) history.replaceState(null, "", address);
  enhance();
  return true;
}

// ---- The photo: measured, hashed, made smaller
async function digest(file) {
  if (!crypto.subtle) return "";
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

async function shrink(file, shortSide) {
  if (file.size <= MOST_BYTES) return file;
  let picture;
  try { picture = await createImageBitmap(file, { imageOrientation: "from-image" }); } catch { return file; }
  const short = Math.min(picture.width, picture.height), long = Math.max(picture.width, picture.height);
  const least = Math.min(1, shortSide / short);
  let scale = Math.max(least, Math.min(1, LONG_SIDE / long)), best = file;
  for (const quality of [0.85, 0.75, 0.65, 0.55, 0.5, 0.5, 0.5]) {
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(picture.width * scale);
    canvas.height = Math.round(picture.height * scale);
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    const made = await new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));
    if (!made) break;
    best = made;
    if (made.size <= MOST_BYTES) break;
    if (quality <= 0.65) scale = Math.max(least, scale * 0.85);
  }
  picture.close();
  return best.size < file.size ? best : file;
}

async function take(file) {
  // A file from the gallery is older than this moment, and we say so.
  const isOld = file.lastModified && Date.now() - file.lastModified > 600_000;
  taken = { file, at: new Date(isOld ? file.lastModified : Date.now()).toISOString(), where: null };
  taken.position = locate({ enableHighAccuracy: true, maximumAge: 0, timeout: 20_000 }).then((where) => { if (taken) taken.where = where; }, () => {});
  await showTaken();
}

function tell(form, kind, words) {
  const note = find("[data-where]", form);
  note.hidden = false;
  note.className = `notice ${kind}`;
  note.textContent = words;
}

async function showTaken() {
  const form = find("form[data-send]"), mine = taken;
  if (!form || !mine) return;
  const input = find("input[type=file]", form), shot = find("[data-shot]", form);
  const files = new DataTransfer();
  files.items.add(mine.file);
  if (input.files[0] !== mine.file) input.files = files.files;
  shot.src = URL.createObjectURL(mine.file);
  shot.onload = () => URL.revokeObjectURL(shot.src);
  shot.onerror = () => { shot.hidden = true; };
  shot.hidden = false;
  tell(form, "", "Measuring where you are…");
  await mine.position;
  if (taken !== mine) return;
  if (!mine.where) {
    return tell(form, "wait", "Your phone gave no position. You can send, but a person must look; or allow location and take it again.");
  }
  const away = metres(mine.where.latitude, mine.where.longitude, +form.dataset.latitude, +form.dataset.longitude);
  const isThere = away <= +form.dataset.within;
  tell(form, isThere ? "" : "bad", isThere
    ? `You are at the place (${Math.round(away)} m, give or take ${Math.round(mine.where.accuracy)} m).`
    : `You are about ${Math.round(away)} m away; it counts within ${form.dataset.within} m. Go closer and take it again.`);
}

async function send(form) {
  const button = find("[data-send-button]", form), label = button.textContent;
  if (button.disabled || !taken) return;
  button.disabled = true;
  button.textContent = "Sending…";
  await taken.position;
  const original = await digest(taken.file), small = await shrink(taken.file, +form.dataset.shortSide);
  const body = new FormData(form);
  body.set("photo", small, small === taken.file ? taken.file.name : "photo.jpg");
  body.set("original_sha256", original);
  body.set("captured_at", taken.at);
  if (taken.where) {
    body.set("latitude", taken.where.latitude);
    body.set("longitude", taken.where.longitude);
    body.set("accuracy_m", taken.where.accuracy);
  }
  const request = new XMLHttpRequest();
  request.open("POST", form.action);
  request.upload.onprogress = (e) => { if (e.lengthComputable) button.textContent = `Sending… ${Math.round(100 * e.loaded / e.total)} %`; };
  const notSent = () => {
    button.disabled = false;
    button.textContent = label;
    tell(form, "bad", "Not sent. Your photo is still here: try again.");
  };
  request.onerror = request.ontimeout = notSent;
  request.onload = () => {
    const isAnswer = request.status < 500 || request.status === 503;
    if (request.status < 400) taken = null;
    if (!isAnswer || !swap(request.responseText, request.status < 400 ? request.responseURL : "")) return notSent();
    if (taken) showTaken();
    else scrollTo(0, 0);
  };
  request.send(body);
}

// ---- Claim and camera in one tap
async function claim(form) {
  const button = find("[data-claim-button]", form);
  if (button.disabled) return;
  button.disabled = true;
  const camera = document.createElement("input");
  camera.type = "file";
  camera.accept = "image/*";
  camera.setAttribute("capture", "environment");
  camera.onchange = () => { if (camera.files[0]) take(camera.files[0]); };
  // Before the first await: only a tap may open the camera. It goes on while the claim is made.
  camera.click();
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    if (!swap(await answer.text(), answer.ok ? answer.url : "")) throw new Error();
    scrollTo(0, 0);
    if (answer.ok) showTaken();
    else taken = null;
  } catch {
    button.disabled = false;
    button.textContent = "No connection. Try again";
  }
}

// ---- A page that waits looks again
let timer = 0;
function lookAgain() {
  clearTimeout(timer);
  const seconds = +find("[data-looks-again]")?.dataset.looksAgain;
  if (!seconds) return;
  timer = setTimeout(async () => {
    if (document.hidden) return lookAgain();
    try {
      const answer = await fetch(location.href);
      if (answer.ok) return void swap(await answer.text(), "");
    } catch { /* Offline: the next turn tries again. */ }
    lookAgain();
  }, Math.max(1500, seconds * 300));
}

function enhance() {
  writeTimes(document);
  lookAgain();
  for (const button of document.querySelectorAll("[data-locate-button]")) {
    button.hidden = false;
    button.onclick = async () => {
      const label = button.textContent;
      button.disabled = true;
      button.textContent = "Asking your phone…";
      try {
        const where = await locate({ enableHighAccuracy: true, maximumAge: 60_000, timeout: 20_000 });
        find("[name=place]", button.form).value = `${where.latitude}, ${where.longitude}`;
        button.form.submit();
      } catch {
        button.disabled = false;
        button.textContent = `${label} (no position: allow location, or type it)`;
        const details = find("details", button.form);
        if (details) details.open = true;
      }
    };
  }
  const claiming = find("form[data-claim]");
  if (claiming) {
    claiming.onsubmit = (e) => { e.preventDefault(); claim(claiming); };
    const country = find("select", claiming), note = find("[data-unserved-note]", claiming);
    if (country) (country.onchange = () => {
      note.hidden = !("unserved" in country.selectedOptions[0].dataset);
      find("[data-claim-button]", claiming).disabled = !note.hidden;
    })();
  }
  const sending = find("form[data-send]");
  if (sending) {
    const input = find("input[type=file]", sending);
    input.onchange = () => { if (input.files[0]) take(input.files[0]); };
    sending.onsubmit = (e) => { if (taken) { e.preventDefault(); send(sending); } };
  }
  for (const form of document.querySelectorAll("form[data-once]")) {
    form.onsubmit = () => setTimeout(() => { find("button:not([type=button])", form).disabled = true; });
  }
}

enhance();
setInterval(() => writeTimes(document), 15_000);
addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });
