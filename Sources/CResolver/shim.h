#include <errno.h>
#include <netinet/in.h>
#include <arpa/nameser.h>
#include <resolv.h>
#include <string.h>

/* What Swift cannot take from <resolv.h> and <arpa/nameser.h>: macros, and the answer's packed records. */

#define CRESOLVER_ANSWER_SIZE 65535

/* h_errno of a query that broke for a reason of its own (<netdb.h>: NETDB_INTERNAL). */
#define CRESOLVER_BROKEN (-1)

/*
 * Asks for the SRV records of `name` and writes the answer, CRESOLVER_ANSWER_SIZE bytes at most. Returns its length,
 * or -1 with *problem set to an h_errno value. `server` and `port` (host byte order) replace resolv.conf's name
 * servers if `server` is not 0 (network byte order). A server is waited for `seconds`, `attempts` times.
 */
static inline int cresolver_query(
    const char *name, unsigned char *answer, unsigned int server, unsigned short port, int seconds, int attempts,
    int *problem) {
    struct __res_state state;
    int length;
    memset(&state, 0, sizeof state);
    if (res_ninit(&state) != 0) {
        *problem = CRESOLVER_BROKEN;
        return -1;
    }
    state.retrans = seconds;
    state.retry = attempts;
    state.options |= RES_USE_EDNS0;
    if (server != 0) {
        state.nscount = 1;
        memset(&state.nsaddr_list[0], 0, sizeof state.nsaddr_list[0]);
        state.nsaddr_list[0].sin_family = AF_INET;
        state.nsaddr_list[0].sin_addr.s_addr = server;
        state.nsaddr_list[0].sin_port = htons(port);
    }
    length = res_nquery(&state, name, ns_c_in, ns_t_srv, answer, CRESOLVER_ANSWER_SIZE);
    if (length < 0) *problem = state.res_h_errno;
    res_nclose(&state);
    return length;
}

/* How many records the answer section has; -1 for no DNS message. */
static inline int cresolver_count(const unsigned char *answer, int length) {
    ns_msg message;
    if (ns_initparse(answer, length, &message) != 0) return -1;
    return ns_msg_count(message, ns_s_an);
}

/*
 * The SRV record at `index` of the answer section (RFC 2782). Returns 1, 0 for a record of another type, -1 for a
 * broken one. `target` has room for NS_MAXDNAME bytes.
 */
static inline int cresolver_srv(
    const unsigned char *answer, int length, int index, int *priority, int *weight, int *port, char *target) {
    ns_msg message;
    ns_rr record;
    const unsigned char *data;
    if (ns_initparse(answer, length, &message) != 0) return -1;
    if (ns_parserr(&message, ns_s_an, index, &record) != 0) return -1;
    if (ns_rr_type(record) != ns_t_srv) return 0;
    if (ns_rr_rdlen(record) < 7) return -1;
    data = ns_rr_rdata(record);
    *priority = ns_get16(data);
    *weight = ns_get16(data + 2);
    *port = ns_get16(data + 4);
    return dn_expand(ns_msg_base(message), ns_msg_end(message), data + 6, target, NS_MAXDNAME) < 0 ? -1 : 1;
}
