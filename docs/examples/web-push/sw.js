// The service worker: shows what is pushed, and tells the pages of the app that are open.

self.addEventListener("push", (event) => event.waitUntil(show(event.data.json())));

async function show(message) {
  // The tag is the prompt's id: a reminder, or a message that comes twice, takes the first one's place.
  await self.registration.showNotification(message.title, {
    tag: message.prompt_id,
    renotify: message.kind === "reminder",
    data: message,
  });
  const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  pages.forEach((page) => page.postMessage(message));
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(self.clients.openWindow(`./?prompt=${event.notification.data.prompt_id}`));
});
