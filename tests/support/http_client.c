/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "support/http_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { GUARD_SECONDS = 120 };

static void die(const char *what)
{
    (void)fprintf(stderr, "http_client: %s: %s\n", what, strerror(errno));
    abort();
}

void http_open(struct http_client *c, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval guard = {GUARD_SECONDS, 0};
    int on = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memset(c, 0, sizeof(*c));
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)))
        die("connect");
    (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &guard, sizeof(guard));
    (void)setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &guard, sizeof(guard));
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void http_close(struct http_client *c)
{
    (void)close(c->fd);
    free(c->buf);
    memset(c, 0, sizeof(*c));
    c->fd = -1;
}

int http_send(struct http_client *c, const void *data, size_t len)
{
    const char *p = data;
    while (len) {
        ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) /* with a guard also after SIGSTOP and SIGCONT */
            continue;
        if (n <= 0)
            return 0;
        p += n;
        len -= (size_t)n;
    }
    return 1;
}

int http_send_text(struct http_client *c, const char *text)
{
    return http_send(c, text, strlen(text));
}

ssize_t http_recv(struct http_client *c, void *out, size_t len, int flags)
{
    ssize_t n;
    do
        n = recv(c->fd, out, len, flags);
    while (n < 0 && errno == EINTR);
    return n;
}

/* Reads more into buf: bytes, 0 at the end or on an error. */
static size_t fill(struct http_client *c)
{
    if (c->cap - c->len < 65536) {
        c->cap = c->cap * 2 + 65536 * 2;
        c->buf = realloc(c->buf, c->cap);
        if (!c->buf)
            die("realloc");
    }
    ssize_t n = http_recv(c, c->buf + c->len, c->cap - c->len - 1, 0);
    if (n <= 0)
        return 0;
    c->len += (size_t)n;
    c->buf[c->len] = 0;
    return (size_t)n;
}

/* Position of text in buf from `from` on, reading until it is there; SIZE_MAX if it never is. */
static size_t await(struct http_client *c, size_t from, const char *text)
{
    for (;;) {
        char *at = c->len > from ? memmem(c->buf + from, c->len - from, text, strlen(text)) : NULL;
        if (at)
            return (size_t)(at - c->buf);
        if (!fill(c))
            return SIZE_MAX;
    }
}

static int await_length(struct http_client *c, size_t len)
{
    while (c->len < len)
        if (!fill(c))
            return 0;
    return 1;
}

static void skip(struct http_client *c, size_t n)
{
    memmove(c->buf, c->buf + n, c->len - n);
    c->len -= n;
}

/* Decodes a chunked body that starts at `at`; returns where it ends, 0 if it does not. */
static size_t read_chunks(struct http_client *c, size_t at, struct http_answer *a)
{
    a->body = malloc(1);
    for (;;) {
        size_t line = await(c, at, "\r\n");
        if (line == SIZE_MAX)
            return 0;
        size_t n = strtoul(c->buf + at, NULL, 16);
        if (!await_length(c, line + 2 + n + 2))
            return 0;
        a->body = realloc(a->body, a->body_len + n + 1);
        memcpy(a->body + a->body_len, c->buf + line + 2, n);
        a->body_len += n;
        a->body[a->body_len] = 0;
        at = line + 2 + n + 2;
        if (n == 0)
            return at;
    }
}

const char *http_header(const struct http_answer *a, const char *name, char *out, size_t cap)
{
    size_t len = strlen(name);
    for (const char *line = strstr(a->head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        const char *at = line + 2;
        if (strncasecmp(at, name, len) == 0 && at[len] == ':') {
            at += len + 1;
            at += strspn(at, " ");
            (void)snprintf(out, cap, "%.*s", (int)strcspn(at, "\r"), at);
            return out;
        }
    }
    return NULL;
}

void http_read(struct http_client *c, struct http_answer *a, int is_head)
{
    char value[64];
    memset(a, 0, sizeof(*a));
    size_t end = await(c, 0, "\r\n\r\n");
    if (end == SIZE_MAX || end + 4 >= sizeof(a->head))
        return;
    memcpy(a->head, c->buf, end + 4);
    end += 4;
    size_t len = 0;
    int chunked = http_header(a, "Transfer-Encoding", value, sizeof(value)) != NULL;
    if (http_header(a, "Content-Length", value, sizeof(value)) && !is_head)
        len = strtoul(value, NULL, 10);
    if (chunked && !is_head) {
        end = read_chunks(c, end, a);
        if (end == 0)
            return;
        skip(c, end);
    } else {
        if (!await_length(c, end + len))
            return;
        a->body = malloc(len + 1);
        memcpy(a->body, c->buf + end, len);
        a->body[len] = 0;
        a->body_len = len;
        skip(c, end + len);
    }
    a->status = atoi(a->head + strlen("HTTP/1.1 "));
}

int http_ends(struct http_client *c)
{
    for (;;) {
        errno = 0;
        c->len = 0;
        if (!fill(c))
            return errno != EAGAIN && errno != EWOULDBLOCK;
    }
}

int http_post(struct http_client *c, const char *path, const char *extra, const void *body,
              size_t len)
{
    char text[2048];
    int head = snprintf(text, sizeof(text),
                        "POST %s HTTP/1.1\r\nHost: test\r\nContent-Length: %zu\r\n"
                        "Content-Encoding: snappy\r\n%s\r\n",
                        path, len, extra);
    size_t room = sizeof(text) - (size_t)head, first = len < room ? len : room;
    memcpy(text + head, body, first); /* at once: it may have to be in time */
    return http_send(c, text, (size_t)head + first) &&
           http_send(c, (const char *)body + first, len - first);
}
