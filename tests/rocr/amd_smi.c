/*
 * A stand-in for AMD SMI, so that rocrtst can be loaded: no Debian suite has the libamd_smi.so.26 that it names any more.
 * rocrtst calls it only when it is asked to print clocks and temperatures (-m). Then the library starts, knows no GPU, and every
 * question is answered with "not supported". The calls are those that rocrtst64 leaves undefined (nm -D); their shapes are those of
 * the public header amd_smi/amdsmi.h, with every handle and structure as an untyped pointer.
 */
#include <stdint.h>

enum status { STATUS_SUCCESS = 0, STATUS_INVALID_ARGUMENT = 1, STATUS_NOT_SUPPORTED = 2 };

enum status amdsmi_init(uint64_t flags)
{
    (void)flags;
    return STATUS_SUCCESS;
}

enum status amdsmi_shut_down(void)
{
    return STATUS_SUCCESS;
}

static enum status none(uint32_t *count)
{
    if (!count)
        return STATUS_INVALID_ARGUMENT;
    *count = 0;
    return STATUS_SUCCESS;
}

enum status amdsmi_get_socket_handles(uint32_t *count, void **sockets)
{
    (void)sockets;
    return none(count);
}

enum status amdsmi_get_processor_handles(void *socket, uint32_t *count, void **processors)
{
    (void)socket, (void)processors;
    return none(count);
}

enum status amdsmi_get_processor_type(void *processor, uint32_t *type)
{
    (void)processor, (void)type;
    return STATUS_NOT_SUPPORTED;
}

enum status amdsmi_get_gpu_id(void *processor, uint16_t *id)
{
    (void)processor, (void)id;
    return STATUS_NOT_SUPPORTED;
}

enum status amdsmi_get_gpu_board_info(void *processor, void *info)
{
    (void)processor, (void)info;
    return STATUS_NOT_SUPPORTED;
}

enum status amdsmi_get_gpu_perf_level(void *processor, uint32_t *level)
{
    (void)processor, (void)level;
    return STATUS_NOT_SUPPORTED;
}

enum status amdsmi_get_gpu_overdrive_level(void *processor, uint32_t *percent)
{
    (void)processor, (void)percent;
    return STATUS_NOT_SUPPORTED;
}

enum status amdsmi_get_clk_freq(void *processor, uint32_t clock, void *frequencies)
{
    (void)processor, (void)clock, (void)frequencies;
    return STATUS_NOT_SUPPORTED;
}

enum status amdsmi_get_temp_metric(void *processor, uint32_t sensor, uint32_t metric, int64_t *temperature)
{
    (void)processor, (void)sensor, (void)metric, (void)temperature;
    return STATUS_NOT_SUPPORTED;
}

enum status amdsmi_get_gpu_fan_speed(void *processor, uint32_t sensor, int64_t *speed)
{
    (void)processor, (void)sensor, (void)speed;
    return STATUS_NOT_SUPPORTED;
}

enum status amdsmi_get_gpu_fan_speed_max(void *processor, uint32_t sensor, uint64_t *speed)
{
    (void)processor, (void)sensor, (void)speed;
    return STATUS_NOT_SUPPORTED;
}
