// COCO's compressed run lengths to bitmaps.

/** Run lengths, background first, column by column: 5 bits a character, differences to the run two before. */
function decodeRuns(counts) {
  const runs = [];
  let position = 0;
  while (position < counts.length) {
    let value = 0;
    let shift = 0;
    let group;
    do {
      group = counts.charCodeAt(position) - 48;
      position += 1;
      value |= (group & 31) << shift;
      shift += 5;
    } while (group & 32);
    if (group & 16 && shift < 32) value |= -1 << shift;
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
  }
  return runs;
}

/** {x, y, width, height, filled}: the smallest frame around a mask, and its pixels, 0 or 1, column by column. */
function decodeMask(counts, imageHeight) {
  const runs = decodeRuns(counts);
  const spans = []; // [column, first row, last row + 1]
  let position = 0;
  runs.forEach((length, n) => {
    const end = position + length;
    if (n % 2) {
      for (let start = position; start < end;) {
        const column = Math.floor(start / imageHeight);
        const stop = Math.min(end, (column + 1) * imageHeight);
        spans.push([column, start - column * imageHeight, stop - column * imageHeight]);
        start = stop;
      }
    }
    position = end;
  });
  if (!spans.length) return null;
  const x = spans[0][0];
  const width = spans[spans.length - 1][0] - x + 1;
  const y = spans.reduce((least, span) => Math.min(least, span[1]), Infinity);
  const height = spans.reduce((most, span) => Math.max(most, span[2]), 0) - y;
  const filled = new Uint8Array(width * height);
  for (const [column, first, last] of spans) {
    filled.fill(1, (column - x) * height + first - y, (column - x) * height + last - y);
  }
  return { x, y, width, height, filled };
}

/**
 * A mask as a canvas in one colour: its inside thin, its outline strong.
 *
 * One of `step` pixels is looked at in each direction, so that outlines stay visible in a small picture.
 */
function maskBitmap(counts, imageHeight, step, color) {
  const mask = decodeMask(counts, imageHeight);
  if (!mask) return null;
  const width = Math.ceil(mask.width / step);
  const height = Math.ceil(mask.height / step);
  const at = (column, row) => {
    if (column < 0 || row < 0 || column >= width || row >= height) return 0;
    const x = Math.min(mask.width - 1, column * step + (step >> 1));
    const y = Math.min(mask.height - 1, row * step + (step >> 1));
    return mask.filled[x * mask.height + y];
  };
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  const [red, green, blue] = color;
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1) {
      if (!at(column, row)) continue;
      const inside = at(column - 1, row) && at(column + 1, row) && at(column, row - 1) && at(column, row + 1);
      pixels.data.set([red, green, blue, inside ? 95 : 255], 4 * (row * width + column));
    }
  }
  context.putImageData(pixels, 0, 0);
  return { canvas, x: mask.x, y: mask.y, width: width * step, height: height * step };
}
