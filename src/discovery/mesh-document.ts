/** The document of this name holds the defaults of all services. */
export const MESH_DOCUMENT = 'mesh'
