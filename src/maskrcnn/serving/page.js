// Sends a photograph to the server and draws what it answers.

const COLORS = ["#2f6fde", "#e07b00", "#1a9c6b", "#b13bc4", "#c43d3d", "#0f8fa8", "#9a8512", "#5b5f97"];
const page = Object.fromEntries(["drop", "file", "score", "masks", "status", "picture", "objects"]
  .map((id) => [id, document.getElementById(id)]));
const token = new URLSearchParams(window.location.search).get("token");
let shown = null; // {photo, annotations}
let turn = 0;

async function send(file) {
  turn += 1;
  const own = turn;
  page.status.textContent = `${file.name} is on its way …`;
  const began = performance.now();
  try {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const [photo, answer] = await Promise.all([
      createImageBitmap(file).catch(() => null),
      fetch("predict", { method: "POST", body: file, headers }),
    ]);
    const content = await answer.json();
    if (own !== turn) return;
    if (!answer.ok) throw new Error(content.error);
    shown = { photo, image: content.images[0], ...content };
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    page.status.textContent = `${file.name}: ${content.annotations.length} objects, ${seconds} s`;
    draw();
  } catch (error) {
    if (own === turn) page.status.textContent = `${file.name}: ${error.message}`;
  }
}

function draw() {
  document.querySelector("output").textContent = (page.score.value / 100).toFixed(2);
  if (!shown) return;
  const { photo, image, annotations, categories } = shown;
  const canvas = page.picture;
  canvas.width = image.width;
  canvas.height = image.height;
  const context = canvas.getContext("2d");
  if (photo) context.drawImage(photo, 0, 0, image.width, image.height);
  const wanted = annotations.filter((item) => item.score >= page.score.value / 100);
  const unit = Math.max(1, Math.max(image.width, image.height) / 800);
  context.font = `${14 * unit}px system-ui, sans-serif`;
  for (const item of [...wanted].reverse()) {
    const place = categories.findIndex((category) => category.id === item.category_id);
    const color = COLORS[place % COLORS.length];
    const parts = [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));
    const bitmap = page.masks.checked ? maskBitmap(item.segmentation.counts, image.height, 1, parts) : null;
    if (bitmap) context.drawImage(bitmap.canvas, bitmap.x, bitmap.y);
    context.strokeStyle = color;
    context.lineWidth = 2 * unit;
    context.strokeRect(...item.bbox);
    const text = `${item.name} ${item.score.toFixed(2)}`;
    context.fillStyle = color;
    context.fillRect(item.bbox[0], Math.max(0, item.bbox[1] - 18 * unit), context.measureText(text).width + 8 * unit, 18 * unit);
    context.fillStyle = "#fff";
    context.fillText(text, item.bbox[0] + 4 * unit, Math.max(0, item.bbox[1] - 18 * unit) + 14 * unit);
  }
  page.objects.replaceChildren(...wanted.map((item) => element("li", {}, `${item.name} ${item.score.toFixed(2)}`)));
}

page.file.addEventListener("change", () => page.file.files.length && send(page.file.files[0]));
page.score.addEventListener("input", draw);
page.masks.addEventListener("change", draw);
for (const name of ["dragover", "dragleave", "drop"]) {
  window.addEventListener(name, (event) => {
    event.preventDefault();
    page.drop.classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) send(event.dataTransfer.files[0]);
  });
}
