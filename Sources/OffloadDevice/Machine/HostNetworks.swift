import Registers
import Virtio

/// Where the wires of a machine's network functions lead out of it: capture files that are written, TAP interfaces. A device that is
/// replayed has none of them.
final class HostNetworks {
    private var taps: [(function: Int, interface: TapInterface)] = []

    /// Opens what the functions' settings name.
    init(of device: Device) throws(MachineError) {
        let cycles = UInt32(clamping: max(device.description.clockHertz / 1_000_000, 1))
        for (index, settings) in Device.functions(device.description) where settings.kind == .net {
            guard let wire = device.virtioFunction(index)?.network?.backend as? ExternalNetwork else { continue }
            do {
                switch settings.network.backend {
                case .capture(_, let output?):
                    let writer = try CaptureWriter(path: output, cyclesPerMicrosecond: cycles)
                    wire.onTransmit = { writer.append($0, at: $1) }
                case .tap(let name):
                    let interface = try TapInterface(name: name)
                    wire.onTransmit = { frame, _ in interface.send(frame) }
                    taps.append((index, interface))
                default: break
                }
            } catch {
                throw .network(function: "function with index \(index)", error)
            }
        }
    }

    /// Has the host's frames become inputs of the machine.
    func start(_ machine: Machine) {
        for (function, interface) in taps {
            interface.start { [unowned machine] frame in _ = machine.perform(.receiveFrame(function: function, frame)) }
        }
    }

    /// The machine is called no more when this returns. Not under its lock.
    func stop() {
        for tap in taps { tap.interface.stop() }
    }
}
