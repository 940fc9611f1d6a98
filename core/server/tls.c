/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS section in terms of GnuTLS, which takes its memory from malloc. */
#include "door.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <gnutls/x509.h>

enum { PRIORITY_BYTES = 512 };

static int fail(pra_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int fail(pra_error *err, const char *fmt, ...)
{
    char text[200];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, text);
}

/* ---- versions, ciphers, curves */

static void add(char *to, const char *fmt, const char *text)
{
    size_t len = strlen(to);
    (void)snprintf(to + len, PRIORITY_BYTES - len, fmt, text);
}

/* The versions of config up to `most`, its curves, and who chooses the cipher. */
static void describe(const pra__tls_config *config, enum pra__tls_version most, char *out)
{
    static const char *const versions[] = {"1.0", "1.1", "1.2", "1.3"};
    add(out, "%s", "NORMAL:-VERS-ALL");
    for (int v = (int)most; v >= (int)config->min_version; v--)
        add(out, ":+VERS-TLS%s", versions[v]);
    add(out, "%s", ":-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA");
    if (config->curve_count)
        add(out, "%s", ":-GROUP-ALL");
    for (size_t i = 0; i < config->curve_count; i++)
        add(out, ":+GROUP-%s", config->curves[i]);
    if (config->prefer_server)
        add(out, "%s", ":%SERVER_PRECEDENCE");
}

static int make_priority(const char *text, gnutls_priority_t *out, pra_error *err)
{
    const char *at = NULL;
    int rc = gnutls_priority_init(out, text, &at);
    if (rc == GNUTLS_E_MEMORY_ERROR)
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, "out of memory");
    if (rc)
        return fail(err, "this build of GnuTLS does not know \"%.40s\" of tls_server_config",
                    at ? at : text);
    return PRA_OK;
}

/* cipher_suites speaks of TLS 1.2 and less only. GnuTLS takes one list of ciphers for all versions,
 * so older clients get a list of their own. A suite is a cipher and a kind of key; since the key is
 * known, the ciphers that go with it are all there is to say. */
static int make_priorities(pra__tls *tls, bool ecdsa, pra_error *err)
{
    const pra__tls_config *config = tls->config;
    char text[PRIORITY_BYTES] = "", older[PRIORITY_BYTES] = "";
    enum pra__tls_version most = config->max_version;
    size_t usable = 0;
    if (config->suites_given && config->min_version < PRA__TLS13) {
        describe(config, most < PRA__TLS12 ? most : PRA__TLS12, older);
        add(older, "%s", ":-CIPHER-ALL");
        for (size_t i = 0; i < config->suite_count; i++)
            if (config->suites[i]->ecdsa == ecdsa && ++usable)
                add(older, ":+%s", config->suites[i]->cipher);
        if (!usable && most < PRA__TLS13)
            return fail(err, "none of cipher_suites can be used with this key, which is %s",
                        ecdsa ? "not RSA" : "RSA");
    }
    if (*older && !usable) { /* nothing is left below TLS 1.3 */
        pra__tls_config newest = *config;
        newest.min_version = PRA__TLS13;
        describe(&newest, most, text);
        return make_priority(text, &tls->priority, err);
    }
    describe(config, most, text);
    int rc = make_priority(text, &tls->priority, err);
    return rc || !*older ? rc : make_priority(older, &tls->older, err);
}

/* ---- certificates */

static gnutls_datum_t datum(pra_str pem)
{
    return (gnutls_datum_t){(unsigned char *)(uintptr_t)pem.ptr, (unsigned)pem.len};
}

static int load_key(pra__tls *tls, const pra__tls_files *files, bool *ecdsa, pra_error *err)
{
    gnutls_datum_t cert = datum(files->cert), key = datum(files->key);
    gnutls_x509_privkey_t private_key = NULL;
    int rc = gnutls_certificate_set_x509_key_mem2(tls->credentials, &cert, &key,
                                                  GNUTLS_X509_FMT_PEM, NULL, 0);
    if (rc == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
        return fail(err, "the key does not belong to the certificate");
    if (rc < 0)
        return fail(err, "the certificate and its key cannot be used (both must be PEM): %s",
                    gnutls_strerror(rc));
    rc = gnutls_certificate_get_x509_key(tls->credentials, 0, &private_key);
    if (rc < 0)
        return fail(err, "the key cannot be used: %s", gnutls_strerror(rc));
    *ecdsa = gnutls_x509_privkey_get_pk_algorithm(private_key) != GNUTLS_PK_RSA;
    gnutls_x509_privkey_deinit(private_key);
    return PRA_OK;
}

static int load_client_ca(pra__tls *tls, pra_str pem, pra_error *err)
{
    gnutls_datum_t ca = datum(pem);
    if (tls->config->client_auth < PRA__VERIFY_IF_GIVEN)
        return PRA_OK;
    int rc = gnutls_certificate_set_x509_trust_mem(tls->credentials, &ca, GNUTLS_X509_FMT_PEM);
    if (rc <= 0)
        return fail(err, "the client CA holds no certificate in PEM%s%s", rc ? ": " : "",
                    rc ? gnutls_strerror(rc) : "");
    return PRA_OK;
}

int pra__tls_init(pra__tls *out, const pra__tls_config *config, const pra__tls_files *files,
                  pra_error *err)
{
    bool ecdsa = false;
    memset(out, 0, sizeof(*out));
    out->config = config;
    if (gnutls_certificate_allocate_credentials(&out->credentials))
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, "out of memory");
    int rc = load_key(out, files, &ecdsa, err);
    if (!rc)
        rc = load_client_ca(out, files->client_ca, err);
    if (!rc)
        rc = make_priorities(out, ecdsa, err);
    if (rc)
        pra__tls_fini(out);
    return rc;
}

void pra__tls_fini(pra__tls *tls)
{
    if (tls->priority)
        gnutls_priority_deinit(tls->priority);
    if (tls->older)
        gnutls_priority_deinit(tls->older);
    if (tls->credentials)
        gnutls_certificate_free_credentials(tls->credentials);
    memset(tls, 0, sizeof(*tls));
}

/* ---- sessions */

/* The version is settled, the cipher is not: the place for the list of older clients. */
static int on_client_hello(gnutls_session_t session)
{
    const pra__tls *tls = gnutls_db_get_ptr(session);
    if (gnutls_protocol_get_version(session) >= GNUTLS_TLS1_3)
        return 0;
    return gnutls_priority_set(session, tls->older);
}

int pra__tls_attach(const pra__tls *tls, gnutls_session_t session,
                    gnutls_certificate_verify_function *verify)
{
    const pra__tls_config *config = tls->config;
    int rc = gnutls_priority_set(session, tls->priority);
    if (!rc)
        rc = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, tls->credentials);
    if (rc)
        return rc;
    /* Never GNUTLS_CERT_REQUIRE: GnuTLS would not tell the client what is missing. verify does. */
    gnutls_certificate_server_set_request(session, config->client_auth ? GNUTLS_CERT_REQUEST
                                                                       : GNUTLS_CERT_IGNORE);
    if (config->client_auth)
        gnutls_session_set_verify_function(session, verify);
    if (tls->older) { /* there is no cache of sessions, so its pointer is free */
        gnutls_db_set_ptr(session, (void *)(uintptr_t)tls);
        gnutls_handshake_set_post_client_hello_function(session, on_client_hello);
    }
    return 0;
}

/* ---- client certificates */

static bool is_allowed(const pra__tls_config *config, const char *san, size_t len)
{
    for (size_t i = 0; i < config->client_san_count; i++)
        if (strlen(config->client_sans[i]) == len && memcmp(config->client_sans[i], san, len) == 0)
            return true;
    return false;
}

/* Addresses are compared as text, as Go writes them. */
static bool is_allowed_address(const pra__tls_config *config, const unsigned char *ip, size_t len)
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    char text[INET6_ADDRSTRLEN] = "";
    if (len == 16 && memcmp(ip, mapped, 12) == 0) {
        ip += 12;
        len = 4;
    }
    if (len != 4 && len != 16)
        return false;
    if (!inet_ntop(len == 4 ? AF_INET : AF_INET6, ip, text, sizeof(text)))
        return false;
    return is_allowed(config, text, strlen(text));
}

static bool has_allowed_san(const pra__tls_config *config, gnutls_x509_crt_t cert)
{
    char san[1024];
    for (unsigned i = 0;; i++) {
        size_t len = sizeof(san);
        int type = gnutls_x509_crt_get_subject_alt_name(cert, i, san, &len, NULL);
        if (type == GNUTLS_E_SHORT_MEMORY_BUFFER)
            continue; /* too long to be one of ours */
        if (type < 0)
            return false;
        if (type == GNUTLS_SAN_IPADDRESS) {
            if (is_allowed_address(config, (const unsigned char *)san, len))
                return true;
        } else if (type == GNUTLS_SAN_DNSNAME || type == GNUTLS_SAN_RFC822NAME ||
                   type == GNUTLS_SAN_URI) {
            if (is_allowed(config, san, len))
                return true;
        }
    }
}

static bool check_san(const pra__tls_config *config, const gnutls_datum_t *der)
{
    gnutls_x509_crt_t cert;
    if (gnutls_x509_crt_init(&cert))
        return false;
    bool good = gnutls_x509_crt_import(cert, der, GNUTLS_X509_FMT_DER) == 0 &&
                has_allowed_san(config, cert);
    gnutls_x509_crt_deinit(cert);
    return good;
}

/* What is wrong with the chain, NULL if nothing. */
static const char *check_chain(gnutls_session_t session, gnutls_alert_description_t *alert)
{
    gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                     .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT};
    unsigned status = 0;
    *alert = GNUTLS_A_BAD_CERTIFICATE;
    if (gnutls_certificate_verify_peers(session, &purpose, 1, &status))
        return "it cannot be read";
    if (status == 0)
        return NULL;
    if (status & GNUTLS_CERT_EXPIRED) {
        *alert = GNUTLS_A_CERTIFICATE_EXPIRED;
        return "it has expired";
    }
    if (status & GNUTLS_CERT_NOT_ACTIVATED)
        return "it is not valid yet";
    if (status & GNUTLS_CERT_PURPOSE_MISMATCH)
        return "it is not for clients";
    if (status & GNUTLS_CERT_INSECURE_ALGORITHM)
        return "it is signed with an insecure algorithm";
    *alert = GNUTLS_A_UNKNOWN_CA;
    return "the client CA has not signed it";
}

bool pra__tls_needs_client(const pra__tls_config *config)
{
    return config->client_auth == PRA__REQUIRE_ANY_CLIENT_CERT ||
           config->client_auth == PRA__REQUIRE_AND_VERIFY ||
           (config->client_auth && config->client_sans);
}

bool pra__tls_client_is_good(const pra__tls *tls, gnutls_session_t session, char *why, size_t cap)
{
    const pra__tls_config *config = tls->config;
    gnutls_alert_description_t alert = GNUTLS_A_BAD_CERTIFICATE;
    unsigned count = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
    const char *wrong = NULL;
    if (!chain || count == 0) {
        if (!pra__tls_needs_client(config))
            return true;
        wrong = "there is none";
        if (gnutls_protocol_get_version(session) >= GNUTLS_TLS1_3)
            alert = GNUTLS_A_CERTIFICATE_REQUIRED;
    } else {
        if (config->client_auth >= PRA__VERIFY_IF_GIVEN)
            wrong = check_chain(session, &alert);
        if (!wrong && config->client_sans && !check_san(config, &chain[0]))
            wrong = "none of its names is in client_allowed_sans";
    }
    if (!wrong)
        return true;
    (void)snprintf(why, cap, "%s", wrong);
    (void)gnutls_alert_send(session, GNUTLS_AL_FATAL, alert);
    return false;
}
