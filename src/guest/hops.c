/* Shows a guest the hops that the endpoint's modelled path has. Preloaded into QEMU, which has no option for any of it.
 *
 * AQLPROBE_ATOMIC_COMPLETERS=MASK   what the kernel's vfio-pci would answer about the path above the device
 *     (VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP, linux/vfio.h: 1 = 32 bit, 2 = 64 bit, 4 = 128 bit). For a vfio-user device QEMU asks
 *     with no file to ask, because the protocol has no such question. With the answer, QEMU's own vfio_pci_enable_rp_atomics
 *     decides whether the guest's root port gets completers.
 * AQLPROBE_HOPS=ID:DEVCAP2:DEVCTL2[,...]   bits, in hexadecimal, to set in Device Capabilities 2 and Device Control 2 of QEMU's own
 *     root and switch ports, which it gives no AtomicOp capabilities.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/vfio.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* As linux/vfio.h has them from 6.6 on; older headers lack the padding and the capability. */
struct device_info {
    uint32_t argsz, flags, num_regions, num_irqs, cap_offset, pad;
};
struct atomic_completers {
    struct {
        uint16_t id, version;
        uint32_t next;
    } header;
    uint32_t flags;
};
enum { PCI_ATOMIC_COMP = 5 };

enum { HEADER = 64, CAPABILITY_POINTER = 0x34, PCI_EXPRESS = 0x10, DEVCAP2 = 0x24, DEVCTL2 = 0x28, OBJECT_BYTES = 4096 };

/* Copies memory that may not be there. */
static int copy(void *to, const void *from, size_t bytes) {
    struct iovec local = {to, bytes}, remote = {(void *)(uintptr_t)from, bytes};
    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)bytes;
}

/* QEMU's PCIDevice holds a pointer to its config space at an offset that differs between versions: it is the pointer whose bytes are
 * those that QEMU's own read function gives. */
static uint8_t *config_space(void *device) {
    uint32_t (*read_config)(void *, uint32_t, int) = dlsym(RTLD_DEFAULT, "pci_default_read_config");
    uint8_t wanted[HEADER], found[HEADER];
    if (!read_config)
        return NULL;
    for (uint32_t at = 0; at < HEADER; at += 4) {
        uint32_t word = read_config(device, at, 4);
        memcpy(wanted + at, &word, 4);
    }
    for (size_t at = 0; at < OBJECT_BYTES; at += sizeof(void *)) {
        uint8_t *candidate;
        if (copy(&candidate, (char *)device + at, sizeof candidate) && copy(found, candidate, HEADER) && !memcmp(wanted, found, HEADER))
            return candidate;
    }
    return NULL;
}

static void set_bits(const char *id, uint32_t devcap2, uint16_t devctl2) {
    int (*find)(const char *, void **) = dlsym(RTLD_DEFAULT, "pci_qdev_find_device");
    void *device = NULL;
    uint8_t *config = find && find(id, &device) == 0 && device ? config_space(device) : NULL;
    uint8_t at = config ? config[CAPABILITY_POINTER] : 0;
    uint32_t capabilities;
    uint16_t control;
    for (int hops = 0; config && at >= HEADER && config[at] != PCI_EXPRESS && hops < 48; hops++)
        at = config[at + 1];
    if (!config || at < HEADER || config[at] != PCI_EXPRESS) {
        fprintf(stderr, "hops: %s has no PCI Express capability that this library can find in this QEMU\n", id);
        exit(1);
    }
    memcpy(&capabilities, config + at + DEVCAP2, sizeof capabilities);
    memcpy(&control, config + at + DEVCTL2, sizeof control);
    capabilities |= devcap2;
    control |= devctl2;
    memcpy(config + at + DEVCAP2, &capabilities, sizeof capabilities);
    memcpy(config + at + DEVCTL2, &control, sizeof control);
}

/* Once, when the device is being added: the ports above it exist then, and the guest does not run yet. */
static void set_all(void) {
    static int done;
    const char *list = getenv("AQLPROBE_HOPS");
    char *copy_of_list, *rest, *hop;
    if (done++ || !list || !(copy_of_list = strdup(list)))
        return;
    for (hop = strtok_r(copy_of_list, ",", &rest); hop; hop = strtok_r(NULL, ",", &rest)) {
        char id[32];
        unsigned devcap2, devctl2;
        if (sscanf(hop, "%31[^:]:%x:%x", id, &devcap2, &devctl2) == 3)
            set_bits(id, devcap2, (uint16_t)devctl2);
        else
            fprintf(stderr, "hops: '%s' is not ID:DEVCAP2:DEVCTL2\n", hop);
    }
    free(copy_of_list);
}

/* vfio-user-pci connects to its server while it is being realized. */
int connect(int fd, const struct sockaddr *address, socklen_t length) {
    int (*next)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    if (address && address->sa_family == AF_UNIX)
        set_all();
    return next(fd, address, length);
}

int ioctl(int fd, unsigned long request, ...) {
    int (*next)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    va_list arguments;
    void *argument;
    va_start(arguments, request);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    if (request == VFIO_DEVICE_GET_INFO && fd < 0) {
        const char *mask = getenv("AQLPROBE_ATOMIC_COMPLETERS");
        struct device_info *info = argument;
        struct atomic_completers answer = {
            .header = {.id = PCI_ATOMIC_COMP, .version = 1, .next = 0},
            .flags = mask ? (uint32_t)strtoul(mask, NULL, 0) : 0,
        };
        uint32_t room = info->argsz;
        if (!answer.flags) {
            errno = EBADF;
            return -1;
        }
        info->flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_CAPS;
        info->num_regions = VFIO_PCI_NUM_REGIONS;
        info->num_irqs = VFIO_PCI_NUM_IRQS;
        info->argsz = sizeof *info + sizeof answer;
        info->cap_offset = 0;
        if (room >= info->argsz) {
            info->cap_offset = sizeof *info;
            memcpy((char *)argument + sizeof *info, &answer, sizeof answer);
        }
        return 0;
    }
    return next(fd, request, argument);
}
