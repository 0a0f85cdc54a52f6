import Foundation
import HostFilesystem

/// One of each kind of node.
func sampleTree() throws -> NodeTable {
    let nodes = NodeTable()
    let root = nodes.root

    var shown = 0
    var stored = "nothing\n"
    root.add("greeting", TextFile("hello"))
    root.add("counter", TextFile(show: { () throws(Errno) in
        shown += 1
        return "\(shown)\n"
    }))
    root.add("long", TextFile(show: { () throws(Errno) in String(repeating: "0123456789abcde\n", count: 1000) }))
    root.add("setting", TextFile(
        show: { () throws(Errno) in stored },
        store: { (text, _) throws(Errno) in
            if text.hasPrefix("bad") { throw .invalidArgument }
            stored = text
        }))
    root.add("trigger", TextFile(store: { (_, _) throws(Errno) in }))
    root.add("link", SymbolicLink("directory/inner"))
    root.directory("directory").add("inner", TextFile("inside"))

    // Registers: aligned accesses of 4 bytes only; `last` says what the server saw.
    let registers = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 8)
    registers.initializeMemory(as: UInt8.self, repeating: 0)
    var last = "none\n"
    root.add("register", AccessFile(
        size: 64, permissions: 0o600,
        read: { (offset, buffer, _) throws(Errno) in
            guard buffer.count == 4, offset % 4 == 0 else { throw .invalidArgument }
            buffer.storeBytes(of: registers.load(fromByteOffset: offset, as: UInt32.self), as: UInt32.self)
            return 4
        },
        write: { (offset, bytes, _) throws(Errno) in
            guard bytes.count == 4, offset % 4 == 0 else { throw .invalidArgument }
            registers.storeBytes(of: bytes.loadUnaligned(as: UInt32.self), toByteOffset: offset, as: UInt32.self)
            return 4
        }))
    root.add("window", AccessFile(
        size: 4096, permissions: 0o600,
        read: { (offset, buffer, _) throws(Errno) in
            last = "read \(offset) \(buffer.count)\n"
            return buffer.count
        },
        write: { (offset, bytes, _) throws(Errno) in
            last = "write \(offset) \(bytes.count)\n"
            return bytes.count
        }))
    root.add("last", TextFile(show: { () throws(Errno) in last }))

    // A BAR: accesses come here and are inverted, a mapping maps the memory as it is.
    let bar = try MemoryFile("bar", size: 8192)
    root.add("bar", AccessFile(
        size: 8192, permissions: 0o600, mapping: Mapping(memory: bar.fileDescriptor, servesAccesses: false),
        read: { (offset, buffer, _) throws(Errno) in
            for index in 0..<buffer.count { buffer[index] = ~bar.bytes[offset + index] }
            return buffer.count
        },
        write: { (offset, bytes, _) throws(Errno) in
            for index in 0..<bytes.count { bar.bytes[offset + index] = ~bytes[index] }
            return bytes.count
        }))
    let memory = try MemoryFile("memory", size: 1 << 20)
    root.add("memory", AccessFile(memory: memory, permissions: 0o600))

    // Events, raised from another thread as a machine does.
    let events = root.add("events", EventFile())
    root.add("raise", TextFile(store: { (text, _) throws(Errno) in
        guard let count = Int(text.prefix { $0.isNumber }) else { throw .invalidArgument }
        Thread.detachNewThread {
            for _ in 0..<count { events.raise() }
        }
    }))

    // Functions that appear and vanish.
    let functions = root.directory("functions")
    var present = 0
    root.add("number", TextFile(
        show: { () throws(Errno) in "\(present)\n" },
        store: { (text, _) throws(Errno) in
            guard let wanted = Int(text.prefix { $0.isNumber }), wanted <= 64 else { throw .invalidArgument }
            for number in 0..<present { functions.remove("function\(number)") }
            present = wanted
            for number in 0..<present {
                let function = functions.add("function\(number)", Directory())
                function.add("id", TextFile("\(number)"))
                function.add("events", EventFile())
                function.add("register", AccessFile(
                    size: 4, permissions: 0o600,
                    read: { (_, buffer, _) throws(Errno) in buffer.count }, write: { (_, bytes, _) throws(Errno) in bytes.count }))
            }
        }))
    root.add("nodes", TextFile(show: { () throws(Errno) in "\(nodes.count)\n" }))
    return nodes
}
