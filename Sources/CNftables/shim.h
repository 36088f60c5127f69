#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <nftables/libnftables.h>

/* memfd_create(2) with MFD_CLOEXEC, which Swift's Glibc module leaves out; -1 and errno as there. */
static inline int cnftables_memory_file(const char *name) {
    return (int)syscall(SYS_memfd_create, name, 1U);
}
