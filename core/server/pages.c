/* SPDX-License-Identifier: Apache-2.0 */
/* The server's own pages. */
#include "internal.h"

#include <string.h>

#define HTML "text/html; charset=utf-8"
#define METRICS "text/plain; version=0.0.4; charset=utf-8"

static void answer_buffer(pra__answer *out, int rc, const char *content_type, pra_buffer *text)
{
    if (rc)
        pra__answer_line(out, 503, "%s", pra_strerror(rc));
    else
        pra__answer_text(out, 200, content_type, pra_buffer_data(text), pra_buffer_len(text));
    pra_buffer_free(text);
}

static void metrics_page(pra__conn *c, pra__answer *out)
{
    pra_server *s = c->server;
    pra_buffer *text = NULL;
    int rc = pra_buffer_new(&s->alloc, &text);
    if (!rc)
        rc = pra__metrics_write(&s->metrics, s->opts.workers, text);
    if (!rc)
        rc = pra__process_metrics_write(text);
    if (!rc)
        rc = pra__entrance_metrics(s, text);
    if (!rc)
        rc = pra_handler_metrics(s->handler, text);
    answer_buffer(out, rc, METRICS, text);
}

static void healthy_page(pra__conn *c, pra__answer *out)
{
    (void)c;
    pra__answer_line(out, 200, "healthy");
}

static void ready_page(pra__conn *c, pra__answer *out)
{
    bool ready = !atomic_load(&c->server->stopping);
    pra__answer_line(out, ready ? 200 : 503, "%s", ready ? "ready" : "shutting down");
}

/* ---- the landing page */

/* Appends text with HTML's special characters escaped. */
static int escaped(pra_buffer *out, const char *text)
{
    int rc = PRA_OK;
    for (; *text && !rc; text++) {
        const char *as = *text == '<'   ? "&lt;"
                         : *text == '>' ? "&gt;"
                         : *text == '&' ? "&amp;"
                         : *text == '"' ? "&quot;"
                                        : NULL;
        rc = as ? pra_buffer_append(out, as, strlen(as)) : pra_buffer_append(out, text, 1);
    }
    return rc;
}

/* The address the reader used, if it can stand in a URL and in YAML; else where we listen. */
static const char *shown_host(const pra__conn *c)
{
    const char *host = MHD_lookup_connection_value(c->mhd, MHD_HEADER_KIND, "Host");
    const char *allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]";
    if (host && *host && strlen(host) < 256 && strspn(host, allowed) == strlen(host))
        return host;
    return c->server->listeners[0].shown;
}

static int landing_text(const pra__conn *c, pra_buffer *out)
{
    const char *host = shown_host(c), *scheme = pra_server_is_tls(c->server) ? "https" : "http";
    const char *login = NULL; /* as the reader of this page has come in */
    if (c->rules && c->rules->config.user_count)
        login = "basic_auth: {username: …, password_file: …}";
    else if (c->rules && c->rules->token_count)
        login = "authorization: {credentials_file: …}";
    int rc = pra__print(out,
                        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                        "<title>prom-remote-api</title>\n"
                        "<style>body{font-family:sans-serif;max-width:46em;margin:2em auto;"
                        "padding:0 1em}pre{background:#eee;padding:1em;overflow:auto}</style>"
                        "</head><body>\n<h1>prom-remote-api %s</h1>\n"
                        "<p>Remote storage for Prometheus: takes remote write, answers remote "
                        "read.</p>\n",
                        pra_version_cstr());
    if (!rc && c->server->description) {
        rc = pra__print(out, "<p>Storage: <code>");
        if (!rc)
            rc = escaped(out, c->server->description);
        if (!rc)
            rc = pra__print(out, "</code></p>\n");
    }
    if (!rc)
        rc = pra__print(
            out,
            "<h2>Use it</h2>\n<p>Add to prometheus.yml and reload Prometheus:</p>\n"
            "<pre>remote_write:\n  - url: %s://%s/api/v1/write\n%s%s%s"
            "remote_read:\n  - {url: %s://%s/api/v1/read, read_recent: true%s%s}\n</pre>\n",
            scheme, host, login ? "    " : "", login ? login : "", login ? "\n" : "", scheme, host,
            login ? ", " : "", login ? login : "");
    if (!rc)
        rc = pra__print(out, "<h2>Look inside</h2>\n<ul>\n"
                             "<li><a href=\"/metrics\">/metrics</a></li>\n"
                             "<li><a href=\"/-/healthy\">/-/healthy</a></li>\n"
                             "<li><a href=\"/-/ready\">/-/ready</a></li>\n</ul>\n</body></html>\n");
    return rc;
}

static void landing_page(pra__conn *c, pra__answer *out)
{
    pra_buffer *text = NULL;
    int rc = pra_buffer_new(&c->server->alloc, &text);
    if (!rc)
        rc = landing_text(c, text);
    answer_buffer(out, rc, HTML, text);
}

void pra__page(pra__conn *c, pra__answer *out)
{
    static const struct {
        const char *path;
        void (*answer)(pra__conn *c, pra__answer *out);
    } pages[] = {{"/", landing_page},
                 {"/metrics", metrics_page},
                 {"/-/healthy", healthy_page},
                 {"/-/ready", ready_page}};
    const char *query = c->target_len ? memchr(c->target, '?', c->target_len) : NULL;
    size_t len = query ? (size_t)(query - c->target) : c->target_len;
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (len != strlen(pages[i].path) || memcmp(c->target, pages[i].path, len))
            continue;
        if (strcmp(c->method, "GET") == 0 || strcmp(c->method, "HEAD") == 0) {
            pages[i].answer(c, out);
        } else {
            pra__answer_line(out, 405, "only GET and HEAD are allowed here");
            pra__answer_header(out, "Allow", "GET, HEAD");
        }
        return;
    }
}
