/* SPDX-License-Identifier: Apache-2.0 */
/* Where connections and requests meet the door. */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <gnutls/abstract.h>

/* ---- TLS */

/* libmicrohttpd wants a certificate before it starts. Each session gets one from the rules of its
 * moment instead; without that, none. */
static int no_certificate(gnutls_session_t session, const gnutls_datum_t *names, int name_count,
                          const gnutls_pk_algorithm_t *algorithms, int algorithm_count,
                          gnutls_pcert_st **certs, unsigned *cert_count, gnutls_privkey_t *key)
{
    (void)session, (void)names, (void)name_count, (void)algorithms, (void)algorithm_count;
    (void)certs, (void)cert_count, (void)key;
    return -1;
}

unsigned pra__entrance_flags(const pra_server *s)
{
    return pra__door_has_tls(s->door) ? MHD_USE_TLS : 0;
}

const struct MHD_OptionItem *pra__entrance_options(const pra_server *s)
{
    static const struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    static const struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)no_certificate}, {MHD_OPTION_END, 0, NULL}};
    return pra__door_has_tls(s->door) ? tls : none;
}

static gnutls_session_t session_of(const pra__conn *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    return info ? info->tls_session : NULL;
}

static int verify_client(gnutls_session_t session)
{
    pra__conn *c = gnutls_session_get_ptr(session);
    pra_server *s = c->server;
    char why[80] = "";
    uint64_t dropped;
    if (pra__tls_client_is_good(&c->tls_rules->tls, session, why, sizeof(why))) {
        c->client_is_good = true;
        return 0;
    }
    pra__metrics_refused(&s->metrics, "client_certificate");
    if (pra__log_allowed(&s->log, &dropped))
        pra__log_write(&s->log.sink, PRA_LOG_WARN, "client certificate refused",
                       "err=\"%s\" remote=%s dropped=%" PRIu64, why, c->remote, dropped);
    pra__conn_linger(c); /* so that the client can read what is wrong */
    return GNUTLS_E_CERTIFICATE_ERROR;
}

/* The client's last word of the handshake: from here on the connection may be idle as any other. */
static int on_finished(gnutls_session_t session, unsigned type, unsigned when, unsigned incoming,
                       const gnutls_datum_t *message)
{
    (void)type, (void)when, (void)message;
    if (incoming)
        pra__conn_enter(gnutls_session_get_ptr(session), PRA__IDLE);
    return 0;
}

bool pra__entrance_open(pra__conn *c)
{
    gnutls_session_t session = pra__door_has_tls(c->server->door) ? session_of(c) : NULL;
    if (!session)
        return !pra__door_has_tls(c->server->door);
    c->tls_rules = pra__door_rules(c->server->door);
    gnutls_session_set_ptr(session, c); /* libmicrohttpd's own use of it is for PSK */
    gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_FINISHED, GNUTLS_HOOK_POST,
                                       on_finished);
    return pra__tls_attach(&c->tls_rules->tls, session, verify_client) == 0;
}

void pra__entrance_close(pra__conn *c)
{
    if (c->tls_rules)
        pra__rules_release(c->tls_rules, &c->server->alloc);
    c->tls_rules = NULL;
}

void pra__entrance_bye(pra__conn *c)
{
    gnutls_session_t session = c->tls_rules ? session_of(c) : NULL;
    if (session)
        (void)gnutls_bye(session, GNUTLS_SHUT_WR);
}

void pra__entrance_send(pra__conn *c, const char *text, size_t len)
{
    gnutls_session_t session = c->tls_rules ? session_of(c) : NULL;
    if (session)
        (void)gnutls_record_send(session, text, len);
    else
        (void)send(c->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* ---- requests */

bool pra__entrance_admit(pra__conn *c, pra__refusal *why)
{
    pra_server *s = c->server;
    if (!s->door)
        return true;
    const pra__place place = {c->remote, pra__now_ms() + s->opts.worker_wait_ms,
                              !c->surplus && !atomic_load(&s->stopping)};
    if (c->tls_rules && !c->client_is_good && pra__tls_needs_client(&c->tls_rules->config.tls)) {
        /* whatever GnuTLS has called or not */
        *why = (pra__refusal){401, "client_certificate", "a client certificate is needed"};
        return false;
    }
    pra__entrance_leave(c);
    c->rules = pra__door_rules(s->door);
    pra__conn_enter(c, PRA__BUSY); /* a password may have to wait for its turn */
    bool is_let_in =
        pra__door_admits(s->door, c->rules, c->headers, c->header_count, &place, &c->user, why);
    pra__conn_enter(c, PRA__BODY);
    return is_let_in;
}

void pra__entrance_answer(const pra__conn *c, pra__answer *a)
{
    if (!c->rules)
        return;
    const pra__web_config *config = &c->rules->config;
    for (size_t i = 0; i < config->header_count; i++)
        pra__answer_header(a, config->headers[i].name, config->headers[i].value);
    if (a->status == 401 && config->user_count)
        pra__answer_header(a, "WWW-Authenticate",
                           "Basic realm=\"prom-remote-api\", charset=\"UTF-8\"");
    if (a->status == 401 && c->rules->token_count)
        pra__answer_header(a, "WWW-Authenticate", "Bearer realm=\"prom-remote-api\"");
}

void pra__entrance_leave(pra__conn *c)
{
    if (c->rules)
        pra__rules_release(c->rules, &c->server->alloc);
    c->rules = NULL;
    c->user = (pra_str){NULL, 0};
}

int pra__entrance_metrics(const pra_server *s, pra_buffer *out)
{
    if (!s->door)
        return PRA_OK;
    return pra__print(out,
                      "# HELP pra_web_config_last_reload_successful Whether the files of "
                      "--web.config.file and --web.bearer-token-file could be used when they were "
                      "read last.\n# TYPE pra_web_config_last_reload_successful gauge\n"
                      "pra_web_config_last_reload_successful %d\n",
                      pra__door_is_current(s->door));
}

/* ---- the start */

static bool is_loopback(const char *shown)
{
    return strncmp(shown, "127.", 4) == 0 || strncmp(shown, "[::1]:", 6) == 0;
}

static void warn(const pra_server *s, const pra__listener *l, bool asks, bool has_tls)
{
    if (is_loopback(l->shown) || (asks && has_tls))
        return;
    pra__log_write(&s->log.sink, PRA_LOG_WARN,
                   asks ? "passwords and tokens are sent in the clear: add tls_server_config to "
                          "--web.config.file, or listen on 127.0.0.1 behind a proxy"
                        : "anyone who can reach this address can write and read: there is no "
                          "authentication; give --web.config.file (basic_auth_users) or "
                          "--web.bearer-token-file, or listen on 127.0.0.1",
                   "address=%s", l->shown);
}

void pra__entrance_announce(const pra_server *s)
{
    pra__rules *rules = s->door ? pra__door_rules(s->door) : NULL;
    bool has_tls = rules && rules->has_tls;
    bool asks = rules && (pra__rules_ask(rules) ||
                          (has_tls && rules->config.tls.client_auth == PRA__REQUIRE_AND_VERIFY));
    for (size_t i = 0; i < s->listener_count; i++)
        warn(s, &s->listeners[i], asks, has_tls || !rules || !pra__rules_ask(rules));
    if (rules && rules->config.http2)
        pra__log_write(&s->log.sink, PRA_LOG_INFO,
                       "http2 is set, but this server speaks HTTP/1.1, as remote write and remote "
                       "read do",
                       NULL);
    if (rules)
        pra__rules_release(rules, &s->alloc);
}
