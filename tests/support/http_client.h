/* SPDX-License-Identifier: Apache-2.0 */
/* A raw HTTP/1.1 client: sends any bytes, reads one answer at a time. */
#ifndef TESTS_SUPPORT_HTTP_CLIENT_H
#define TESTS_SUPPORT_HTTP_CLIENT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A connection; what arrived and is not used yet stays in buf. */
struct http_client {
    int fd;
    char *buf;
    size_t len, cap;
};

struct http_answer {
    int status; /* 0: the connection ended before a whole answer */
    char head[4096];
    char *body; /* NUL-terminated; NULL if there is none; the caller frees it */
    size_t body_len;
};

/* Connects to 127.0.0.1; aborts the test program when it cannot. Reads give up after 120 s. */
void http_open(struct http_client *c, uint16_t port);
void http_close(struct http_client *c);
/* 1, or 0 when the other side has closed. */
int http_send(struct http_client *c, const void *data, size_t len);
int http_send_text(struct http_client *c, const char *text);
/* As recv, past what buf holds; not ended by SIGCONT. */
ssize_t http_recv(struct http_client *c, void *out, size_t len, int flags);
/* Reads one answer; answers 100 as any other. is_head: the body is announced but not sent. */
void http_read(struct http_client *c, struct http_answer *a, int is_head);
/* 1 if the other side closes within 120 s (bytes before that are skipped), else 0. */
int http_ends(struct http_client *c);
/* The value of a header, cut into out; returns out, or NULL if there is none. */
const char *http_header(const struct http_answer *a, const char *name, char *out, size_t cap);

/* Sends a POST with Content-Length and body. extra: whole header lines, or "". */
int http_post(struct http_client *c, const char *path, const char *extra, const void *body,
              size_t len);

#endif
