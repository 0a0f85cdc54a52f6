import Interconnect
import RegisterMaps
import Registers

// The CONTEXT registers: a window on one virtqueue of one component, and on what the component has for all of them.

extension VirtualIOController {
    private var selection: (entry: Int, queue: Int) {
        (Int(registers[VIC.CONTEXT_SELECT.entry]), Int(registers[VIC.CONTEXT_SELECT.queue]))
    }

    private var selected: (any VirtualComponent)? {
        let entry = selection.entry
        return entry < Self.entries ? components[entry]?.device : nil
    }

    /// Brings a register that software is about to read up to date, if it is one of the context's.
    func showContext(_ register: RegisterIndex, _ element: Int) {
        switch register {
        case VIC.CONTEXT_DEVICE, VIC.CONTEXT_FEATURES: showDevice()
        case VIC.CONTEXT_QUEUE, VIC.CONTEXT_POSITION, VIC.CONTEXT_HEAD, VIC.CONTEXT_DESC, VIC.CONTEXT_DRIVER, VIC.CONTEXT_USED_AREA:
            showQueue()
        case VIC.CONTEXT_USED:
            let index = selected?.usedIndex(ofQueue: selection.queue)
            registers[VIC.CONTEXT_USED] = index.map { UInt64($0) | VIC.CONTEXT_USED.valid.mask } ?? 0
        case VIC.CONTEXT_CONFIG: registers[VIC.CONTEXT_CONFIG, element] = UInt64(selected?.configurationWord(element) ?? 0)
        default: break
        }
    }

    private func showDevice() {
        let context = selected?.context ?? ComponentContext()
        registers[VIC.CONTEXT_DEVICE] = 0
        registers[VIC.CONTEXT_DEVICE.status] = UInt64(context.status)
        registers[VIC.CONTEXT_DEVICE.live] = context.isLive ? 1 : 0
        registers[VIC.CONTEXT_DEVICE.recalled] = context.isRecalled ? 1 : 0
        registers[VIC.CONTEXT_DEVICE.portable] = context.isPortable ? 1 : 0
        registers[VIC.CONTEXT_DEVICE.recallable] = context.isRecallable ? 1 : 0
        registers[VIC.CONTEXT_FEATURES] = context.features
    }

    private func showQueue() {
        let context = selected?.context(ofQueue: selection.queue) ?? QueueContext()
        registers[VIC.CONTEXT_QUEUE] = 0
        registers[VIC.CONTEXT_QUEUE.size] = UInt64(context.size)
        registers[VIC.CONTEXT_QUEUE.enabled] = context.isEnabled ? 1 : 0
        registers[VIC.CONTEXT_QUEUE.heads] = UInt64(min(context.heads.count, 0xfff))
        registers[VIC.CONTEXT_POSITION.taken] = UInt64(context.taken)
        registers[VIC.CONTEXT_POSITION.used] = UInt64(context.used)
        let cursor = state.headCursor
        registers[VIC.CONTEXT_HEAD] = cursor < context.heads.count ? UInt64(context.heads[cursor]) : 0
        registers[VIC.CONTEXT_DESC] = context.descriptorArea
        registers[VIC.CONTEXT_DRIVER] = context.driverArea
        registers[VIC.CONTEXT_USED_AREA] = context.deviceArea
    }

    /// Software has written a register: one of the context's changes the component, as long as it is being restored.
    func changeContext(_ register: RegisterIndex, _ new: UInt64) {
        switch register {
        case VIC.CONTEXT_SELECT: state.headCursor = 0
        case VIC.CONTEXT_POSITION:
            guard isRestoring else { return }
            let position = VIC.CONTEXT_POSITION
            selected?.load(
                queue: selection.queue, taken: UInt16(position.taken.value(in: new)), used: UInt16(position.used.value(in: new)))
        case VIC.CONTEXT_HEAD where isRestoring: selected?.addHead(UInt16(VIC.CONTEXT_HEAD.head.value(in: new)), queue: selection.queue)
        default: break
        }
    }

    private var isRestoring: Bool { selection.entry < Self.entries && phase(of: selection.entry) == .restoring }
}
