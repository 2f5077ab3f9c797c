/*
 * loopback: a chat-completions server, in a process of its own.
 *
 * What it answers depends on the path: /v1 answers "ok", streamed when a
 * stream is asked for, with tool calls when tools were offered and not used
 * yet; /slow streams a fragment every few milliseconds and never ends;
 * /reset breaks the connection when the request begins to arrive.
 */
#ifndef LOOPBACK_H
#define LOOPBACK_H

/* Listens on a free port of 127.0.0.1; returns it. Goes on until this
 * program ends. To be started before any thread. */
int loopback_start(void);
/*
 * The same with TLS, and closes the connection as soon as a request begins
 * to arrive. Writes its certificate to `ca_path`. 0: not built with OpenSSL.
 */
int loopback_start_tls(const char *ca_path);

#endif
