import Glibc
import OffloadDevice
import PCIExpress

extension DeviceTree {
    /// `resource`, and a file for each BAR whose reads and writes are register accesses.
    func addBARs(_ node: FunctionNode) {
        let function = node.function, directory = node.directory, machine = machine
        directory.add("resource", AttributeFile(show: { () throws(Errno) in
            machine.inspect { _ in function.resources }
                .map { "0x\(hex($0.first, 16)) 0x\(hex($0.last, 16)) 0x\(hex($0.flags, 16))\n" }.joined()
        }))
        for bar in function.bars {
            // Shared memory is the only BAR that is memory through and through.
            let isShared = function.index == 0 && bar.kind == .prefetchable64
            let mapping = isShared ? Mapping(memory: machine.sharedMemory.fileDescriptor, servesAccesses: false) : nil
            let names = ["resource\(bar.index)"] + (bar.kind == .prefetchable64 ? ["resource\(bar.index)_wc"] : [])
            for name in names { noteClients(of: node, at: directory.add(name, barFile(node, bar, mapping))) }
        }
    }

    /// Who opens this file for writing may drive the function: its DMA reaches that process's memory.
    func noteClients(of node: FunctionNode, at file: Node, readersToo: Bool = false) {
        guard let clients = node.clients else { return }
        let processes = processes, watch = watch
        file.onOpen = { flags, caller in
            guard readersToo || flags & O_ACCMODE != O_RDONLY else { return nil }
            // What the process before has left behind goes first.
            watch.look([clients])
            return clients.opened(by: processes.process(of: caller.thread))
        }
    }

    /// One read or write is one access of 1, 2, 4 or (memory only) 8 bytes at a multiple of its size; EINVAL otherwise. What the
    /// device refuses ends as on a bus: all ones are read, a write is dropped.
    private func barFile(_ node: FunctionNode, _ bar: BARDescription, _ mapping: Mapping?) -> AccessFile {
        let machine = machine, index = node.function.index, number = bar.index, processes = processes, clients = node.clients
        var latestWriter: UInt32 = 0
        let widest = bar.kind == .io ? 4 : 8
        /// Whether a register access can have this size and place.
        func isAccess(_ offset: Int, _ count: Int) -> Bool {
            count > 0 && count <= widest && count & (count - 1) == 0 && offset & (count - 1) == 0
        }
        return AccessFile(
            size: Int(bar.size), permissions: 0o600, mapping: mapping,
            makeOpening: mapping == nil ? nil : { SharedMemoryOpening(machine, flags: $0) }, onClose: { processes.forget() },
            read: { (offset, buffer, caller) throws(Errno) in
                guard isAccess(offset, buffer.count) else { throw .invalidArgument }
                let origin = processes.process(of: caller.thread)
                let (value, _) = machine.readBAR(
                    function: index, bar: number, offset: UInt64(offset), size: buffer.count, origin: origin)
                withUnsafeBytes(of: value.littleEndian) { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<buffer.count])) }
                return buffer.count
            },
            write: { (offset, bytes, caller) throws(Errno) in
                guard isAccess(offset, bytes.count) else { throw .invalidArgument }
                var value: UInt64 = 0
                withUnsafeMutableBytes(of: &value) { $0.copyMemory(from: bytes) }
                let writer = processes.process(of: caller.thread)
                if writer != latestWriter {
                    latestWriter = writer
                    clients?.used(by: writer)
                }
                machine.writeBAR(
                    function: index, bar: number, offset: UInt64(offset), size: bytes.count, value: UInt64(littleEndian: value),
                    origin: writer)
                return bytes.count
            })
    }
}

/// An opening of shared memory. What a mapping writes is no access, and would not be recorded.
private final class SharedMemoryOpening: OpenFile {
    private let machine: Machine
    private let writesUnseen: Bool
    override var canBeMapped: Bool { writesUnseen || flags & O_ACCMODE == O_RDONLY }

    init(_ machine: Machine, flags: Int32) {
        self.machine = machine
        writesUnseen = flags & O_ACCMODE != O_RDONLY && machine.admitUnseenWriter()
        super.init(flags: flags)
    }

    deinit {
        if writesUnseen { machine.unseenWriterLeft() }
    }
}
