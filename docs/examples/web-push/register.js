// Tells the server where this browser takes push messages. Call it at every start of the app, after
// the participant pressed a button the first time: browsers ask for permission only then.

export async function register({ server, accessToken, applicationServerKey }) {
  if ((await Notification.requestPermission()) !== "granted") {
    throw new Error("Notifications are not allowed here: the participant has to allow them.");
  }
  await navigator.serviceWorker.register("sw.js");
  const { pushManager } = await navigator.serviceWorker.ready;
  const subscription = await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey });
  const { endpoint, keys } = subscription.toJSON();
  await ask(server, accessToken, "PUT", { kind: "webpush", address: endpoint, keys });
}

export async function unregister({ server, accessToken }) {
  await ask(server, accessToken, "DELETE");
  const { pushManager } = await navigator.serviceWorker.ready;
  const subscription = await pushManager.getSubscription();
  await subscription?.unsubscribe();
}

async function ask(server, accessToken, method, content) {
  const answer = await fetch(`${server}/api/v1/me/push-registration`, {
    method,
    headers: { Authorization: `Bearer ${accessToken}`, "Content-Type": "application/json" },
    body: content && JSON.stringify(content),
  });
  if (!answer.ok) {
    throw new Error(`The server answered ${answer.status}: ${await answer.text()}`);
  }
}
