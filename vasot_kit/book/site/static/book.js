// Search: Sphinx fetches each page that it found to quote from it, which browsers refuse for files. The quotes come from texts.js.
window.fetch = ((fetchFile) => (address, ...others) => {
  const page = window.bookTexts?.[String(address).replace(document.documentElement.dataset.content_root, "")];
  return page === undefined ? fetchFile(address, ...others) : Promise.resolve(new Response(page));
})(window.fetch);

// Figures are wide: a click shows one in full size.
addEventListener("DOMContentLoaded", () => {
  for (const image of document.querySelectorAll("div.cell_output img:not([data-explorer] *)")) {
    const link = document.createElement("a");
    [link.href, link.title] = [image.src, "Show in full size"];
    image.replaceWith(link);
    link.append(image);
  }
});
